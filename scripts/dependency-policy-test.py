#!/usr/bin/env python3
"""Tests of dependency-policy.py."""

import importlib.util
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
SPEC = importlib.util.spec_from_file_location("policy", Path(__file__).with_name("dependency-policy.py"))
policy = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(policy)

RULES = {
    "licenses": {"allow": ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"]},
    "bans": {
        "wildcards": "deny",
        "deny": [
            {"crate": "ring", "reason": "one provider"},
            {"crate": "hyper", "deny-multiple-versions": True},
        ],
    },
}


def package(name="a", version="1.0.0", license="MIT", source=policy.REGISTRY + "index", wildcards=()):
    return policy.Package(name, version, license, source, wildcards)


class Licenses(unittest.TestCase):
    def test_expressions(self):
        allowed = set(RULES["licenses"]["allow"])
        for expression, expected in [
            ("MIT", True),
            ("GPL-3.0", False),
            ("MIT OR GPL-3.0", True),
            ("GPL-3.0 OR MIT", True),
            ("MIT AND GPL-3.0", False),
            ("MIT/Apache-2.0", True),
            ("GPL-3.0 / MIT", True),
            ("(MIT OR GPL-3.0) AND ISC", True),
            ("(MIT OR GPL-3.0) AND AGPL-3.0", False),
            ("GPL-3.0 OR MIT AND AGPL-3.0", False),
            ("Apache-2.0 WITH LLVM-exception", True),
            ("MIT WITH LLVM-exception", False),
        ]:
            self.assertEqual(policy.license_allowed(expression, allowed), expected, expression)

    def test_malformed_expressions_are_not_understood(self):
        for expression in ["", "MIT OR", "(MIT", "MIT ISC", "MIT )"]:
            with self.assertRaises(policy.PolicyError, msg=expression):
                policy.license_allowed(expression, {"MIT", "ISC"})


class Rules(unittest.TestCase):
    def assert_found(self, packages, *parts):
        found = policy.violations(RULES, packages)
        self.assertEqual(len(found), len(parts), found)
        for sentence, part in zip(found, parts):
            self.assertIn(part, sentence)

    def test_what_is_in_order(self):
        self.assert_found([package(), package("hyper"), package("ours", source=None)])

    def test_each_violation_is_one_sentence(self):
        self.assert_found([package(license=None)], "a 1.0.0 names no license")
        self.assert_found([package(license="GPL-3.0")], "license GPL-3.0 is not allowed")
        self.assert_found([package(source="git+https://a.example")], "comes from git+https://a.example")
        self.assert_found([package("ring", "0.17.0")], "ring 0.17.0 is banned: one provider")
        self.assert_found([package("ours", source=None, wildcards=("b",))], "takes b in any version")
        twice = [package("hyper", "0.14.0"), package("hyper", "1.0.0")]
        self.assert_found(twice, "hyper is there in 2 versions (0.14.0, 1.0.0)")

    def test_another_crate_may_be_there_twice(self):
        self.assert_found([package(version="1.0.0"), package(version="2.0.0")])


class Keys(unittest.TestCase):
    def test_what_is_not_understood_is_refused(self):
        policy.check_keys(RULES)
        for rules in [
            {"advisories": {"ignore": []}},
            {"licenses": {"exceptions": []}},
            {"bans": {"multiple-versions": "deny"}},
            {"bans": {"deny": [{"name": "ring"}]}},
            {"bans": {"deny": [{"crate": "ring", "wrappers": ["a"]}]}},
            {"sources": {"unknown-git": "warn"}},
        ]:
            with self.assertRaises(policy.PolicyError, msg=rules):
                policy.check_keys(rules)


class Beside(unittest.TestCase):
    NAME = "tests/clients/matrix-sdk/Cargo.lock"
    REGISTRY = "registry+https://a.example"

    def found(self, **package):
        lock = {"package": [{"name": "a", "version": "1.0.0", **package}]}
        return policy.lockfile_violations(self.NAME, lock)

    def test_what_is_locked_in_the_registry_is_in_order(self):
        self.assertEqual(self.found(source=self.REGISTRY, checksum="00"), [])
        self.assertEqual(self.found(), [], "a folder of this repository")

    def test_what_comes_from_elsewhere_is_not(self):
        self.assertIn("comes from git+https://", self.found(source="git+https://a.example")[0])
        self.assertIn("no checksum", self.found(source=self.REGISTRY)[0])

    def test_a_lockfile_that_nobody_knows_is_refused(self):
        self.assertEqual(policy.unknown_lockfiles(["Cargo.lock", self.NAME]), [])
        self.assertEqual(len(policy.unknown_lockfiles(["tools/Cargo.lock"])), 1)


if __name__ == "__main__":
    unittest.main()
