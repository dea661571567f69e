#!/usr/bin/env python3
"""Checks the workspace's dependencies against deny.toml, without compiling cargo-deny.

Understands the part of cargo-deny's format that deny.toml uses; a key it does not know is an
error, so that no rule is skipped silently. Advisories are cargo-deny's alone.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

# How Cargo spells that a package comes from a registry, not from a repository or a folder.
REGISTRY = "registry+"

ROOT = Path(__file__).parent.parent

# Workspaces of their own: a client that is not ours and brings other versions of our libraries, and fuzzing,
# which needs another compiler. Nothing of them is linked into Hearth or shipped with it: what deny.toml says
# of licenses, of several versions and of what is banned is not about them. What they bring onto the machines
# of those who test matters, so where it comes from is checked. Any other lockfile is an error.
BESIDE = ["tests/clients/matrix-sdk/Cargo.lock", "tests/fuzz/Cargo.lock"]

KNOWN_KEYS = {
    "graph": {"targets"},
    "licenses": {"allow"},
    "bans": {"multiple-versions", "wildcards", "allow-wildcard-paths", "deny"},
    "sources": {"unknown-registry", "unknown-git"},
}
KNOWN_BAN_KEYS = {"crate", "reason", "deny-multiple-versions"}


@dataclass(frozen=True)
class Package:
    """A crate that is compiled for the product or its tests."""

    name: str
    version: str
    license: str | None
    source: str | None  # None: a crate of this workspace
    wildcards: tuple[str, ...] = ()  # dependencies it takes in any version


class PolicyError(Exception):
    """deny.toml says something that this checker does not understand."""


def check_keys(policy):
    """Refuses what would otherwise be ignored."""
    for section, table in policy.items():
        unknown = set(table) - KNOWN_KEYS.get(section, set())
        if section not in KNOWN_KEYS or unknown:
            raise PolicyError(f"deny.toml: [{section}] {', '.join(sorted(unknown))} is not understood")
    for ban in policy.get("bans", {}).get("deny", []):
        unknown = set(ban) - KNOWN_BAN_KEYS
        if unknown or "crate" not in ban:
            raise PolicyError(f"deny.toml: [bans] deny: {ban} is not understood")
    bans = policy.get("bans", {})
    for key, only in [("multiple-versions", "allow"), ("wildcards", "deny"), ("allow-wildcard-paths", True)]:
        if bans.get(key, only) != only:
            raise PolicyError(f"deny.toml: [bans] {key} = {bans[key]!r} is not understood")
    for key, value in policy.get("sources", {}).items():
        if value != "deny":
            raise PolicyError(f"deny.toml: [sources] {key} = {value!r} is not understood")


def license_allowed(expression, allowed):
    """Whether an SPDX expression can be satisfied with allowed licenses alone.

    A slash is an old spelling of OR. AND binds tighter than OR.
    """
    tokens = re.findall(r"\(|\)|[^\s()/]+|/", expression)
    position = 0

    def peek():
        return tokens[position] if position < len(tokens) else None

    def take():
        nonlocal position
        position += 1
        return tokens[position - 1]

    def either():
        satisfied = both()
        while peek() in ("OR", "/"):
            take()
            satisfied = both() or satisfied
        return satisfied

    def both():
        satisfied = one()
        while peek() == "AND":
            take()
            satisfied = one() and satisfied
        return satisfied

    def one():
        if peek() is None:
            raise PolicyError(f"license expression {expression!r} ends too early")
        token = take()
        if token == "(":
            satisfied = either()
            if peek() != ")":
                raise PolicyError(f"license expression {expression!r} lacks a parenthesis")
            take()
            return satisfied
        if peek() == "WITH":
            take()
            token = f"{token} WITH {take()}"
        return token in allowed

    satisfied = either()
    if peek() is not None:
        raise PolicyError(f"license expression {expression!r} is not understood at {peek()!r}")
    return satisfied


def violations(policy, packages):
    """Every rule that a package breaks, as sentences."""
    found = []
    allowed = set(policy.get("licenses", {}).get("allow", []))
    bans = policy.get("bans", {})
    versions = defaultdict(set)
    for package in packages:
        versions[package.name].add(package.version)
    for package in sorted(packages, key=lambda p: (p.name, p.version)):
        label = f"{package.name} {package.version}"
        if package.license is None:
            found.append(f"{label} names no license")
        elif not license_allowed(package.license, allowed):
            found.append(f"{label}: license {package.license} is not allowed")
        if package.source is not None and not package.source.startswith(REGISTRY):
            found.append(f"{label} comes from {package.source}, not from a registry")
        if bans.get("wildcards") == "deny":
            found += [f"{label} takes {name} in any version" for name in package.wildcards]
    registries = {package.source for package in packages if package.source}
    if len(registries) > 1:
        found.append(f"packages come from several places: {', '.join(sorted(registries))}")
    for ban in bans.get("deny", []):
        name, here = ban["crate"], sorted(versions.get(ban["crate"], ()))
        reason = ban.get("reason", "banned")
        if ban.get("deny-multiple-versions"):
            if len(here) > 1:
                found.append(f"{name} is there in {len(here)} versions ({', '.join(here)}): {reason}")
        elif here:
            found.append(f"{name} {', '.join(here)} is banned: {reason}")
    return found


def lockfile_violations(name, lock):
    """What a workspace beside ours locks that does not come from the registry as it was there, nor from a
    folder of this repository."""
    found = []
    for package in lock.get("package", []):
        label = f"{name}: {package['name']} {package['version']}"
        source = package.get("source")
        if source is not None and not source.startswith(REGISTRY):
            found.append(f"{label} comes from {source}, not from a registry")
        elif source is not None and "checksum" not in package:
            found.append(f"{label} may be anything: no checksum is locked")
    return found


def unknown_lockfiles(names):
    """Lockfiles of which nobody decided what they may hold."""
    known = {"Cargo.lock", *BESIDE}
    return [f"{name} is neither ours nor known beside it: see BESIDE" for name in names if name not in known]


def violations_beside():
    """Everything that is wrong with the workspaces beside ours."""
    listed = subprocess.run(["git", "ls-files", "*Cargo.lock"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found = unknown_lockfiles(listed.stdout.split())
    for name in BESIDE:
        found += lockfile_violations(name, tomllib.loads((ROOT / name).read_text()))
    return found


def compiled_packages(targets):
    """The packages that the targets compile, tests included.

    `cargo metadata` knows licenses and sources, but lists optional dependencies that only a weak
    feature (`dep?/feature`) mentions; which packages are compiled is what `cargo tree` says.
    """
    metadata = json.loads(cargo("metadata", "--format-version=1", "--locked"))
    compiled = set()
    for target in targets:
        lines = cargo("tree", "--workspace", "--locked", f"--target={target}", "--edges=normal,build,dev",
                      "--prefix=none", "--format={p}").splitlines()
        # "name v1.2.3 (path or *)"
        compiled |= {tuple(line.split()[:2]) for line in lines if line}
    return [
        Package(p["name"], p["version"], p["license"], p["source"], wildcards(p))
        for p in metadata["packages"]
        if (p["name"], f"v{p['version']}") in compiled
    ]


def wildcards(package):
    """Of our own crates: the dependencies in any version that are not in this workspace."""
    if package["source"] is not None:
        return ()
    return tuple(d["name"] for d in package["dependencies"] if d["req"] == "*" and "path" not in d)


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def run_cargo_deny():
    """Runs cargo-deny itself where it is installed; whether it was content."""
    if "deny" not in {line.split()[0] for line in cargo("--list").splitlines() if line.strip()}:
        return True
    return subprocess.run(["cargo", "deny", "check", "licenses", "bans", "sources"]).returncode == 0


def main():
    policy = tomllib.loads((ROOT / "deny.toml").read_text())
    try:
        check_keys(policy)
        packages = compiled_packages(policy["graph"]["targets"])
        found = violations(policy, packages) + violations_beside()
    except PolicyError as error:
        found, packages = [str(error)], []
    for sentence in found:
        print(sentence, file=sys.stderr)
    if found or not run_cargo_deny():
        return 1
    print(f"dependency policy: {len(packages)} packages are in order")
    return 0


if __name__ == "__main__":
    sys.exit(main())
