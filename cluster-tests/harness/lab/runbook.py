"""Pages of commands that are run as they stand.

A fenced block says where it is typed:   ```sh node=prg-1,prg-2 [exit=6]   ```sh desk   ```sh image
`node`: as root on these machines, one after the other. `desk`: at the operator's workstation, whose one program is scp
between machines. `image`: on every machine before it is told apart; run once. A page may hold hints for the test that a
reader does not see: <!-- test: VERB WORDS -->. A block of sh that says no place is an error: it would not be run.
"""
import dataclasses
import pathlib
import re
import shlex
import shutil

FENCE = re.compile(r"^```(\S*)\s*(.*)$")
HINT = re.compile(r"^<!-- test: (.*) -->$")


@dataclasses.dataclass
class Step:
    page: str
    line: int
    kind: str  # node, desk, image, test
    nodes: list
    text: str
    exit: int = 0

    @property
    def where(self):
        return f"{self.page}:{self.line}"


def _step(page, line, words, text):
    options = dict(word.split("=", 1) for word in words if "=" in word)
    kind = "node" if "node" in options else next((w for w in ("desk", "image") if w in words), None)
    if kind is None or set(options) - {"node", "exit"}:
        raise ValueError(f"{page}:{line}: a block of sh must say node=..., desk or image, not '{' '.join(words)}'")
    return Step(page, line, kind, options.get("node", "").split(","), text, int(options.get("exit", 0)))


def read(path):
    """The steps of a page, in order."""
    path = pathlib.Path(path)
    steps, inside, begun, text = [], None, 0, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fence, hint = FENCE.match(line), HINT.match(line)
        if inside is None and fence:
            inside, begun, text = (fence.group(1), fence.group(2).split()), number, []
        elif inside is not None and line == "```":
            if inside[0] == "sh":
                steps.append(_step(path.name, begun, inside[1], "\n".join(text) + "\n"))
            inside = None
        elif inside is not None:
            text.append(line)
        elif hint:
            steps.append(Step(path.name, number, "test", [], hint.group(1)))
    if inside is not None:
        raise ValueError(f"{path}:{begun}: the block does not end")
    return steps


def desk(text, machines, where):
    """scp -3 FROM:PATH TO:PATH, between machines; the ways are those of the operator's network, not of the test's."""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[:2] != ["scp", "-3"] or len(words) != 4:
            raise ValueError(f"{where}: the desk only knows scp -3 A:PATH B:PATH, not '{line}'")
        (a, source), (b, target) = (word.split(":", 1) for word in words[2:])
        to = machines[b].path(target)
        shutil.copyfile(machines[a].path(source), to / pathlib.Path(source).name if to.is_dir() else to)


def run(step, machines, echo=lambda text: None):
    """Run a step of kind node or desk."""
    if step.kind == "desk":
        desk(step.text, machines, step.where)
        return
    for name in step.nodes:
        done = machines[name].sh(step.text, check=False, timeout=300)
        echo(f"{step.where} on {name}: exit {done.returncode}")
        if done.returncode != step.exit:
            raise RuntimeError(f"{step.where} on {name}: exit {done.returncode}, want {step.exit}\n{step.text}"
                               f"-- it said\n{done.stdout[-3000:]}{done.stderr[-3000:]}\n"
                               f"-- journal of {name}\n{machines[name].journal()}")
