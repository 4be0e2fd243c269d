#!/usr/bin/env python3
"""What `evertape capture replay` says of real captures, against what is known to be in them.

expected/*.json each name a capture of the sample and hold a part of the JSON that must come out:
each key that stands there must have that value, lists must have that length. They were checked
against tshark 4.0 (frames, SIP messages, packets and losses of each RTP stream, parties and the end
of each call) and by hand where the two count differently, which a "note" tells. Captures that are
not there are named and skipped; without any the whole test is (exit 77).

    ET_SAMPLES=/folder/of/captures captures.py
"""
import glob
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def samples():
    for folder in (os.environ.get("ET_SAMPLES"), os.path.join(ROOT, "..", "..", "shared", "pcaps"),
                   os.path.join(ROOT, "..", "shared", "pcaps")):
        if folder and os.path.isdir(folder):
            return folder
    return None


def differences(expected, found, path=""):
    """Where `found` does not hold what `expected` says."""
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return ["%s: no object" % path]
        out = []
        for key, value in expected.items():
            if key not in found:
                out.append("%s.%s is missing" % (path, key))
            else:
                out += differences(value, found[key], "%s.%s" % (path, key))
        return out
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return ["%s: %s of %d" % (path, len(found) if isinstance(found, list) else "none",
                                      len(expected))]
        return [d for i, value in enumerate(expected)
                for d in differences(value, found[i], "%s[%d]" % (path, i))]
    return [] if expected == found else ["%s: %r, not %r" % (path, found, expected)]


def replay(evertape, folder, case):
    command = [evertape, "capture", "replay", "-o", "json"]
    if "keylog" in case:
        command += ["--keylog", os.path.join(folder, case["keylog"])]
    done = subprocess.run(command + [os.path.join(folder, case["capture"])], capture_output=True,
                          text=True, check=False)
    if done.returncode != case.get("exit", 0):
        return None, ["exit %d: %s" % (done.returncode, done.stderr.strip())]
    return json.loads(done.stdout), []


def identity(found):
    p = found["packets"]
    n = p["sip"] + p["rtp"] + p["rtcp"] + p["other"] + sum(p["unclaimed"].values())
    return [] if n == p["total"] else ["packets: %d of %d are accounted for" % (n, p["total"])]


def main():
    folder = samples()
    cases = sorted(glob.glob(os.path.join(HERE, "expected", "*.json")))
    if folder is None:
        print("SKIPPED: no captures; name a folder of them in ET_SAMPLES")
        return 77
    evertape = os.path.join(os.environ.get("EVERTAPE_BIN", ROOT + "/build/release/bin"), "evertape")
    failed = skipped = 0
    for path in cases:
        with open(path, encoding="utf-8") as file:
            case = json.load(file)
        if not os.path.exists(os.path.join(folder, case["capture"])):
            print("SKIPPED %s: it is not in %s" % (case["capture"], folder))
            skipped += 1
            continue
        found, problems = replay(evertape, folder, case)
        if found is not None:
            problems = identity(found) + differences(case["expected"], found)
        for problem in problems:
            print("%s: %s" % (case["capture"], problem))
        failed += 1 if problems else 0
    print("%d captures, %d differ, %d are not here" % (len(cases), failed, skipped))
    if skipped == len(cases):
        return 77
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
