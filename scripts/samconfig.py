"""Prints what sam deploy is called with if a samconfig.toml says so, in JSON: its own reading of the file and of what is in it."""

import json
import os
import sys

from samcli.cli.context import Context
from samcli.commands.deploy.command import cli

os.chdir(os.path.dirname(os.path.abspath(sys.argv[1])))
context = cli.make_context("deploy", ["--config-file", os.path.basename(sys.argv[1]), "--template-file", "template.yaml"])
options = {name: value for name, value in context.params.items() if isinstance(value, (str, list, dict, bool))}
json.dump({**options, "region": context.ensure_object(Context).region}, sys.stdout)
