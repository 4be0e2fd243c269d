"""What operators load into other programs: Prometheus alerts and their tests, the Grafana dashboard, the Ansible role. Every metric that
they name is one that a real node has; every health code has its alert; every configuration that the role makes is accepted."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from story import Story, binaries, check, need, skip, wait_for  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
MONITORING, ANSIBLE = TOP / "ops/monitoring", TOP / "ops/ansible"
METRIC = re.compile(r"\bevertape_[a-z_]+")


def run(*args, cwd=TOP, **env):
    done = subprocess.run([str(a) for a in args], cwd=cwd, capture_output=True, text=True, check=False,
                          env={**os.environ, "LC_ALL": "C.UTF-8", **env})
    check(done.returncode == 0, f"{' '.join(str(a) for a in args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def promtool():
    own = TOP / "build/tools/promtool"
    return str(own) if own.exists() else shutil.which("promtool")


def codes_and_alerts(story):
    """Health codes (those of the CLI's table that are no errors) and alerts are the same set."""
    table = (TOP / "ops/cli/codes.c").read_text()
    codes = set(re.findall(r'\{ "([A-Z_]+)",\s*"(?:at_risk|degraded|note)"', table))
    alerts = set(re.findall(r'evertape_health_code\{code="([A-Z_]+)"\}', (MONITORING / "alerts-codes.yml").read_text()))
    check(len(codes) > 20, f"only {len(codes)} health codes were found in ops/cli/codes.c")
    check(codes == alerts, f"health codes without an alert: {sorted(codes - alerts)}; alerts of no code: "
          f"{sorted(alerts - codes)}; run ops/monitoring/update")
    story.say(f"each of {len(codes)} health codes has its alert")


def named_metrics():
    """{metric: where it is named}, of rules and dashboard."""
    found = {}
    for name in ("alerts.yml", "alerts-codes.yml", "alerts_test.yml"):
        for line in (MONITORING / name).read_text().splitlines():
            if re.search(r"\b(expr|series):", line):
                for metric in METRIC.findall(line):
                    found.setdefault(metric, name)
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    check(len(ids) == len(set(ids)) >= 10, "panels of the dashboard have no ids of their own")
    for panel in dashboard["panels"]:
        check(panel["targets"] and panel["title"], f"panel {panel['id']} shows nothing")
        for target in panel["targets"]:
            metrics = METRIC.findall(target["expr"])
            check(metrics, f"panel '{panel['title']}' asks for no metric of ours: {target['expr']}")
            found.update({m: f"dashboard, {panel['title']}" for m in metrics})
    return found


def scrape(story):
    """What a real node answers on /metrics, with a token that can only read."""
    story.make_cluster((("prg-1", "prg"), ("brq-1", "brq")))
    node = story.cluster.nodes[0]
    wait_for("the recorder", lambda: " capture.started " in node.log.read_text())
    token = node.cli("token", "create", "--name", "prometheus", "--role", "reader", "--reason", "test")["token"]
    config = story.folder / "curl"
    config.touch(0o600)
    config.write_text(f'header = "Authorization: Bearer {token}"\n')
    return run("curl", "-sSf", "-k", "-K", config, f"https://{node.api_address}/metrics")


def metrics(story):
    text = scrape(story)
    have = set(re.findall(r"^# TYPE (evertape_\w+)", text, re.M))
    named = named_metrics()
    missing = {metric: where for metric, where in named.items() if metric not in have}
    check(not missing, f"no node has these metrics: {missing}")
    check('evertape_health_code{code="ROOT_ON_DISK",level="note",member="prg-1"} 1' in text, "ROOT_ON_DISK is not among the metrics")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    names = [line.rsplit(" ", 1)[0] for line in lines]
    check(len(names) == len(set(names)), f"samples stand twice: {sorted({n for n in names if names.count(n) > 1})}")
    tool = promtool()
    done = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    check(done.returncode in (0, 3), f"promtool check metrics: {done.stdout}{done.stderr}")  # 3: remarks on names
    story.say(f"{len(named)} metrics are named by rules and dashboard; a node has all of them, among {len(have)}")


def rules(story):
    tool = promtool()
    out = run(tool, "check", "rules", "alerts.yml", "alerts-codes.yml", cwd=MONITORING)
    found = [int(n) for n in re.findall(r"(\d+) rules found", out)]
    check(len(found) == 2, out)
    run(tool, "test", "rules", "alerts_test.yml", cwd=MONITORING)
    run(tool, "check", "config", "--syntax-only", "prometheus.yml", cwd=MONITORING)
    story.say("promtool: rules, their tests and the example of a configuration are right: "
              f"{sum(found)} rules")


def ansible(story):
    for name in ("site.yml", "upgrade.yml", "render.yml"):
        run("ansible-playbook", "-i", "inventory.example.yml", "--syntax-check", name, cwd=ANSIBLE,
            ANSIBLE_HOME=story.folder / "ansible", ANSIBLE_LOCALHOST_WARNING="False")
    run("yamllint", "-s", ".", MONITORING, cwd=ANSIBLE)
    out = story.folder / "rendered"
    out.mkdir()
    run("ansible-playbook", "-i", "inventory.example.yml", "render.yml", "-e", f"out={out}", cwd=ANSIBLE,
        ANSIBLE_HOME=story.folder / "ansible")
    made = sorted(out.glob("*.yaml"))
    check(len(made) == 5, f"{len(made)} configurations were made of five machines")
    for path in made:
        run(binaries() / "evertape", "config", "check", path)
        check(len(path.read_text().splitlines()) <= 12, f"{path.name} has more than 12 lines")
    tasks = "".join(p.read_text() for p in (ANSIBLE / "roles/evertape/tasks").glob("*.yml"))
    for task in tasks.split("- name: ")[1:]:
        if re.search(r"evertape_(token|init)\.stdout|cluster init|node token|node join", task.split("\n", 1)[1]):
            check("no_log: true" in task or "include_tasks" in task, f"a task shows a secret: {task.splitlines()[0]}")
    story.say(f"Ansible: syntax and style are right; {len(made)} configurations are accepted; secrets are kept out of the log")


def main():
    need("curl")
    for program in ("ansible-playbook", "yamllint"):
        if shutil.which(program) is None:
            skip(f"needs {program}: run ops/packages deploy")
    if promtool() is None:
        skip("needs promtool: run ops/packages deploy")
    story = Story("alerts, dashboard and Ansible role")
    print(f"-- {story.title}", flush=True)
    try:
        codes_and_alerts(story)
        rules(story)
        ansible(story)
        metrics(story)
        story.say("every promise held")
        return 0
    except Exception as error:  # pylint: disable=broad-except
        print(f"BROKEN: {error}", flush=True)
        return 1
    finally:
        story.close()


if __name__ == "__main__":
    sys.exit(main())
