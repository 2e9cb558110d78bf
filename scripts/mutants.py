#!/usr/bin/env python3
"""Which faults do the tests of a package not notice?

mutants.py SEED COUNT PACKAGE... puts small faults (mutants) into a package, one at a time, and runs the package's own tests
against each: gremlins does, at the version of tools/go.mod. It takes COUNT of the mutants whose line some test runs, by
SEED: the lines with the least SHA-256 of seed, file and text, so that a change elsewhere does not change the choice. It
prints those that live, and fails if fewer than 90 of 100 die. One that takes PATIENCE (10) times as long as the tests do
hangs, which counts as dead, and is printed, too. JOBS is how many go on at a time (1). gremlins takes all mutants of the
lines that a commit has changed; so the choice is made in a copy of the tree, in which the chosen lines get a blank comment.
"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

BAR = 90
ROOT = pathlib.Path(__file__).resolve().parent.parent
LIVES, HANGS, COVERED = "LIVED", "TIMED OUT", {"RUNNABLE"}
DEAD = {"KILLED", HANGS}


def run(*args, cwd, **options):
    return subprocess.run(args, cwd=cwd, check=True, **options)


def git(*args, cwd):
    run("git", "-c", "user.name=mutants", "-c", "user.email=mutants@localhost", *args, cwd=cwd)


def copy_tree(to):
    """Copies what git knows of the tree, and what it does not know yet."""
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)
    git("init", "-q", cwd=to)
    git("config", "diff.relative", "true", cwd=to)  # gremlins knows files by their name in the package
    git("add", "-A", cwd=to)
    git("commit", "-q", "-m", "the tree", cwd=to)


def unleash(gremlins, tree, package, *args, **options):
    """Runs gremlins. It takes the time of one run of the tests as the measure of those that hang: so none comes from a cache."""
    report = tree.parent / "report.json"
    report.unlink(missing_ok=True)
    env = os.environ | {"GOFLAGS": "-vet=off -count=1"}
    run(gremlins, "unleash", "--output", str(report), *args, str(tree / package), cwd=tree / package, env=env, **options)
    for file in json.loads(report.read_text())["files"]:
        for m in file["mutations"]:
            yield pathlib.Path(package, file["file_name"]), m["line"], m["column"], m["type"].lower(), m["status"]


def choose(seed, count, tree, mutants):
    """Marks lines with about count covered mutants."""
    lines = {}
    for file, line, *_, status in mutants:
        if status in COVERED:
            lines[file, line] = lines.get((file, line), 0) + 1

    def rank(place):
        file, line = place
        text = (tree / file).read_text().split("\n")[line - 1]
        return hashlib.sha256(f"{seed} {file} {text.strip()}".encode()).digest(), file, line

    chosen = {}
    for file, line in sorted(lines, key=rank):
        if count <= 0:
            break
        count -= lines[file, line]
        chosen.setdefault(file, set()).add(line)
    for file, numbers in chosen.items():
        text = (tree / file).read_text().split("\n")
        for line in numbers:
            text[line - 1] += " //"
        (tree / file).write_text("\n".join(text))


def examine(gremlins, seed, count, package, work):
    tree = work / "tree"
    tree.mkdir()
    copy_tree(tree)
    choose(seed, count, tree, unleash(gremlins, tree, package, "--dry-run", stdout=subprocess.DEVNULL))
    git("commit", "-q", "-a", "-m", "the choice", cwd=tree)
    jobs, patience = os.environ.get("JOBS", "1"), os.environ.get("PATIENCE", "10")
    results = list(unleash(gremlins, tree, package, "--diff", "HEAD~1", "--workers", jobs,
                           "--timeout-coefficient", patience, "--output-statuses", "lt"))
    dead = sum(status in DEAD for *_, status in results)
    alive = sum(status == LIVES for *_, status in results)
    hung = sum(status == HANGS for *_, status in results)
    for file, line, column, kind, status in sorted(results):
        text = (tree / file).read_text().split("\n")[line - 1]
        if status in (LIVES, HANGS):
            print(f"  {'lives' if status == LIVES else 'hangs'}: {file}:{line}:{column} {kind}: {text.strip().removesuffix(' //')}")
    share = 100 * dead / max(1, dead + alive)
    print(f"{package}: seed {seed}: {dead} of {dead + alive} covered mutants die, {share:.0f} of 100; {hung} of them hang", flush=True)
    return share >= BAR


def main():
    seed, count, packages = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    with tempfile.TemporaryDirectory(prefix="mutants-") as work:
        work = pathlib.Path(work)
        gremlins = work / "gremlins"
        run("go", "build", "-modfile=tools/go.mod", "-o", str(gremlins), "github.com/go-gremlins/gremlins/cmd/gremlins", cwd=ROOT)
        good = True
        for n, package in enumerate(packages):
            (work / str(n)).mkdir()
            good = examine(str(gremlins), seed, count, package.strip("/").removeprefix("./"), work / str(n)) and good
    sys.exit(0 if good else f"mutants: fewer than {BAR} of 100 die: what lives shows what no test of the package demands")


if __name__ == "__main__":
    main()
