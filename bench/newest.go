package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/rig"
)

// pinned are the modules that go.mod pins for the sake of figure (c).
var pinned = []string{"dynamodb", "lambda", "secretsmanager", "ssm", "sts"}

// newestDrain builds drain with the newest versions of the pinned modules, in a go.mod of its own. The path is empty, and a line
// says why, where they cannot be had.
func (b *bench) newestDrain(ctx context.Context) string {
	path, versions, err := b.buildNewest(ctx)
	if err != nil {
		log.Printf("    skipped: drain with the newest service modules: %v", err)
		return ""
	}
	log.Printf("    the newest service modules are %s", versions)
	return path
}

func (b *bench) buildNewest(ctx context.Context) (path, versions string, err error) {
	dir := filepath.Join(b.dir, "newest")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(b.root, name))
		if err != nil {
			return "", "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return "", "", err
		}
	}
	modfile := "-modfile=" + filepath.Join(dir, "go.mod")
	get, list := []string{"get", modfile}, []string{"list", modfile, "-m", "-f", "{{.Path}} {{.Version}}"}
	for _, name := range pinned {
		module := "github.com/aws/aws-sdk-go-v2/service/" + name
		get, list = append(get, module+"@latest"), append(list, module)
	}
	if _, err := output(ctx, b.root, "go", get...); err != nil {
		return "", "", err
	}
	listed, err := output(ctx, b.root, "go", list...)
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(listed) {
		versions += ", " + strings.TrimPrefix(strings.TrimSpace(line), "github.com/aws/aws-sdk-go-v2/service/")
	}
	env := []string{fmt.Sprintf("GOFLAGS=%s -mod=mod", modfile)}
	if err := rig.Build(ctx, b.root, dir, env, "functions/drain"); err != nil {
		return "", "", err
	}
	return rig.Bootstrap(dir, "drain"), strings.TrimPrefix(versions, ", "), nil
}
