package rig

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Build builds packages of the tree at root, such as functions/drain, with the flags that the Makefile builds the
// functions with, env beside the environment of this process. Each becomes the Bootstrap of dir that has its name. What
// dir has already and is up to date costs next to nothing. Processes that build into one dir wait for each other.
func Build(ctx context.Context, root, dir string, env []string, packages ...string) error {
	command, err := buildCommand(root)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("waiting for another process that builds into %s: %w", dir, err)
	}
	for _, pkg := range packages {
		cmd := exec.CommandContext(ctx, "sh", "-c", command+` -o "$0" "$1"`, Bootstrap(dir, filepath.Base(pkg)), "./"+pkg)
		cmd.Dir = root
		cmd.Env = append(cmd.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w: %s", pkg, err, out)
		}
	}
	return nil
}

// buildCommand is the Makefile's, so that one build cache serves both.
func buildCommand(root string) (string, error) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return "", err
	}
	_, command, ok := strings.Cut(string(makefile), "\nGOBUILD := ")
	if !ok {
		return "", fmt.Errorf("the Makefile has no line GOBUILD := to take the flags from")
	}
	command, _, _ = strings.Cut(command, "\n")
	return command, nil
}
