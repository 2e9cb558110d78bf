"""Prints template.yaml as CloudFormation gets it, in JSON. The SAM translator, a part of the SAM CLI, translates it."""

import json
import sys

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform


class NoManagedPolicies:
    def load(self):
        return {}


with open(sys.argv[1]) as source:
    template = yaml_parse(source.read())
template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"  # sam package would set this
json.dump(transform(template, {}, NoManagedPolicies()), sys.stdout)
