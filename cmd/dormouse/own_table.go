package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/devtable"
)

const defaultDir = ".dormouse"

// dirFlag says where a gateway on this machine keeps its table.
func dirFlag() cli.Flag {
	return &cli.StringFlag{Name: "dir", Value: defaultDir, Usage: "`DIR` where the table is kept"}
}

// ownTable is a table of this process.
type ownTable struct {
	*devstage.Table
	passing string // the folder to delete with it; empty: it is kept
}

// openOwnTable opens the table of a command in the folder that --dir names. If nobody has named one, and the usual one is in
// use or cannot be written to, it is one that ends with this process.
func openOwnTable(ctx context.Context, cmd *cli.Command) (*ownTable, error) {
	dir := cmd.String("dir")
	err := keepOutOfGit(dir)
	if err == nil {
		var table *devstage.Table
		if table, err = devstage.OpenTable(ctx, filepath.Join(dir, cmd.Name+".db")); err == nil {
			return &ownTable{Table: table}, nil
		}
	}
	if cmd.IsSet("dir") || !errors.Is(err, devtable.ErrInUse) && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	passing, err := os.MkdirTemp("", "dormouse-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the table: %w", err)
	}
	table, err := devstage.OpenTable(ctx, filepath.Join(passing, cmd.Name+".db"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(passing))
	}
	return &ownTable{table, passing}, nil
}

// Close closes the table, and deletes it if it was for this process alone.
func (t *ownTable) Close() error {
	err := t.Table.Close()
	if t.passing != "" {
		err = errors.Join(err, os.RemoveAll(t.passing))
	}
	return err
}

// Where says where the table is.
func (t *ownTable) Where() string {
	if t.passing != "" {
		return "for this time only, as another process has the usual one, or nobody may write to it (--dir DIR keeps one)"
	}
	return "in " + t.Path()
}

// keepOutOfGit makes a folder whose content no git repository takes up.
func keepOutOfGit(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder for the table: %w: choose another with --dir", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*\n"), 0o600); err != nil {
		return fmt.Errorf("writing into the folder for the table: %w: choose another with --dir", err)
	}
	return nil
}
