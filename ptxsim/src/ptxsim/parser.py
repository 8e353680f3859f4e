"""PTX text → kernels as lists of statements. Nothing is interpreted here beyond names, scopes and lines."""

from __future__ import annotations

import builtins
import re
from dataclasses import dataclass, field

TYPE_BYTES = {"pred": 1} | {f"{k}{n}": n // 8 for k in "busf" for n in (8, 16, 32, 64, 128)} | {"f16x2": 4, "b16x2": 4}

_LABEL = re.compile(r"\s*([A-Za-z_$%][\w$]*)\s*:(?!:)")
_LOC = re.compile(r"\s*\.loc\s+(\d+)\s+(\d+)")
# Where inlined code was called: in Triton's comment `// a.py:170:27 @[ b.py:191:40 @[ c.py:37:23 ] ]`, or as nvcc says it.
_CALLER_COMMENT = re.compile(r"@\[\s*(\S+:\d+):\d+")
_CALLER = re.compile(r"inlined_at\s+(\d+)\s+(\d+)")
_FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', re.M)
_VARIABLE = re.compile(
    r"(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr\b[^,]*?\s)?([\w$%]+)\s*(\[\s*\d*\s*\])?\s*(?:=\s*(.*))?$", re.S
)
_ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*(?:\((.*?)\))?([^{]*)\{", re.S)


UNKNOWN_SOURCE = "unknown (compile with line information)"


@dataclass(frozen=True)
class Variable:
    """A declared variable or parameter: its size and alignment in bytes, and its initial bytes if it has some."""

    name: str
    space: str
    type: str
    bytes: int
    align: int
    initial: builtins.bytes | None = None
    external: bool = False
    array: bool = False


@dataclass(frozen=True)
class Statement:
    """One instruction. Operands are strings; registers are already unique names (`%r1`, or `c@3` of a scope)."""

    opcode: str
    operands: tuple[str, ...]
    predicate: str | None
    negated: bool
    line: int
    text: str
    source: str

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.opcode.replace("::", "_").split("."))


@dataclass
class Kernel:
    name: str
    parameters: list[Variable]
    statements: list[Statement] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    registers: dict[str, str] = field(default_factory=dict)
    variables: list[Variable] = field(default_factory=list)
    tables: dict[str, list[str]] = field(default_factory=dict)
    directives: str = ""  # between the parameters and the body


@dataclass
class Module:
    kernels: dict[str, Kernel]
    variables: list[Variable]
    files: dict[int, str]
    target: str = ""


def split_operands(text: str) -> list[str]:
    """Split at the commas that are outside braces and brackets."""
    found, depth, start = [], 0, 0
    for i, c in enumerate(text):
        if c in "{[(":
            depth += 1
        elif c in "}])":
            depth -= 1
        elif c == "," and depth == 0:
            found.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return [*found, last] if last else found


def parse_integer(text: str) -> int:
    """A PTX integer literal: decimal, 0x…, 0b…, octal with a leading 0; a trailing U is allowed."""
    text = text.strip().rstrip("uU")
    sign, digits = (-1, text[1:].strip()) if text.startswith("-") else (1, text)
    if re.fullmatch(r"0[0-7]+", digits):
        return sign * int(digits, 8)
    return sign * int(digits, 0)


def _strip_comments(text: str) -> str:
    """Blank out comments, keeping every line where it is."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def _closing(text: str, start: int) -> int:
    """Index of the brace that closes the one at `start`."""
    depth = 0
    for m in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if m.group() == "{" else -1
        if depth == 0:
            return m.start()
    raise ValueError(f"unbalanced braces from offset {start}")


def _variable(space: str, text: str, *, external: bool = False) -> Variable:
    m = _VARIABLE.match(text.strip())
    if m is None:
        raise ValueError(f"cannot read the declaration .{space} {text!r}")
    align, kind, name, count, initial = m.groups()
    size = TYPE_BYTES[kind]
    length = 1
    if count is not None:
        digits = count.strip("[] \t")
        length = int(digits) if digits else 0
    data = None
    if initial is not None:
        values = [parse_integer(v) for v in split_operands(initial.strip().strip("{}"))]
        data = b"".join((v % (1 << 8 * size)).to_bytes(size, "little") for v in values).ljust(size * length, b"\0")
    return Variable(name, space, kind, size * length, int(align or size), data, external, count is not None)


def parse(ptx: str) -> Module:
    """Read every kernel and module variable of a PTX file."""
    files = {int(n): path for n, path in _FILE.findall(ptx)}
    text = _strip_comments(ptx)
    text = re.sub(r"^\s*\.section\b", lambda m: " " * (len(m.group()) - 8) + "\x01section", text, flags=re.M)
    kernels, variables = {}, []
    position = 0
    lines = ptx.splitlines()
    item = re.compile(r"\.entry\b|\.func\b|\x01section|\.(global|const|shared)\b([^;]*);")
    while (m := item.search(text, position)) is not None:
        if m.group() == ".entry":
            head = _ENTRY.match(text, m.start())
            if head is None:
                raise ValueError("cannot read the head of a kernel")
            end = _closing(text, head.end() - 1)
            name, parameters = head.group(1), head.group(2) or ""
            declared = [_parameter(p) for p in split_operands(parameters)]
            kernel = Kernel(name, declared, directives=head.group(3))
            _body(kernel, text, head.end(), end, lines, files)
            kernels[name] = kernel
            position = end + 1
        elif m.group() in (".func", "\x01section"):
            brace = text.find("{", m.end())
            stop = text.find(";", m.end())
            declaration_only = m.group() == ".func" and 0 <= stop < (brace if brace >= 0 else len(text))
            position = stop + 1 if declaration_only else _closing(text, brace) + 1
        else:
            external = ".extern" in text[text.rfind("\n", 0, m.start()) + 1 : m.start()]
            variables.append(_variable(m.group(1), m.group(2), external=external))
            position = m.end()
    target = re.search(r"^\s*\.target\s+(\w+)", text, re.M)
    return Module(kernels, variables, files, target[1] if target else "")


def _parameter(text: str) -> Variable:
    text = re.sub(r"\s+", " ", text.strip())
    if not text.startswith(".param"):
        raise ValueError(f"cannot read the parameter {text!r}")
    text = re.sub(r"\.ptr( \.(global|shared|const|local))?( \.align \d+)?", "", text[len(".param") :])
    text = re.sub(r"^\s*(\.\w+)\s+\.align \d+", r"\1", text) if not text.strip().startswith(".align") else text
    return _variable("param", text)


class _Scopes:
    """Register names of nested `{…}`: an inner name hides an outer one, so each gets a name of its own."""

    def __init__(self, registers: dict[str, str]) -> None:
        self.registers = registers
        self.stack: list[dict[str, str]] = [{}]
        self.ranges: list[dict[str, str]] = [{}]
        self.opened = 0

    def push(self) -> None:
        self.opened += 1
        self.stack.append({})
        self.ranges.append({})

    def pop(self) -> None:
        self.stack.pop()
        self.ranges.pop()

    def declare(self, kind: str, names: str) -> None:
        suffix = f"@{self.opened}" if len(self.stack) > 1 else ""
        for name in split_operands(names):
            m = re.fullmatch(r"(.*?)\s*<\s*\d+\s*>", name)
            if m:
                self.ranges[-1][m.group(1)] = kind
            else:
                self.stack[-1][name] = name + suffix
                self.registers[name + suffix] = kind

    def resolve(self, name: str) -> str:
        for names, ranges in zip(reversed(self.stack), reversed(self.ranges), strict=True):
            if name in names:
                return names[name]
            m = re.fullmatch(r"(.*?)(\d+)", name)
            if m:
                for cut in range(m.start(2), len(name)):
                    if name[:cut] in ranges:
                        self.registers.setdefault(name, ranges[name[:cut]])
                        return name
        return name


def _source(loc: re.Match[str], raw: str, files: dict[int, str]) -> str:
    """`file:line` of a `.loc`, and where that was called if it was inlined."""
    callers = _CALLER_COMMENT.findall(raw)
    callers += [f"{files.get(int(f), '?').rsplit('/', 1)[-1]}:{line}" for f, line in _CALLER.findall(raw)]
    called = "".join(f" called at {c}" for c in callers)
    return f"{files.get(int(loc.group(1)), '?')}:{loc.group(2)}{called}"


def _body(kernel: Kernel, text: str, start: int, end: int, lines: list[str], files: dict[int, str]) -> None:
    """Statements between `start` and `end` into `kernel`."""
    scopes = _Scopes(kernel.registers)
    source = UNKNOWN_SOURCE
    line, counted = text.count("\n", 0, start) + 1, start
    position = start
    pending_table: str | None = None
    while position < end:
        if text[position].isspace():
            position += 1
            continue
        line += text.count("\n", counted, position)
        counted = position
        if text[position] == "{":
            scopes.push()
            position += 1
        elif text[position] == "}":
            scopes.pop()
            position += 1
        elif (m := _LOC.match(text, position)) is not None:
            source = _source(m, lines[line - 1], files)
            newline = text.find("\n", position)
            position = newline if newline >= 0 else end
        elif (m := _LABEL.match(text, position)) is not None and m.end() <= end:
            kernel.labels[m.group(1)] = len(kernel.statements)
            pending_table = m.group(1)
            position = m.end()
        else:
            stop = text.index(";", position)
            body = text[position:stop].strip()
            position = stop + 1
            if body.startswith(".branchtargets") and pending_table is not None:
                kernel.tables[pending_table] = split_operands(body[len(".branchtargets") :])
            elif body.startswith(".reg"):
                kind, names = re.match(r"\.reg\s*\.(\w+)\s+(.*)", body, re.S).groups()  # type: ignore[union-attr]
                scopes.declare(kind, names)
            elif m := re.match(r"\.(shared|local)\b(.*)", body, re.S):
                kernel.variables.append(_variable(m.group(1), m.group(2)))
            elif not body.startswith(".") and body:
                kernel.statements.append(_statement(body, line, lines[line - 1].strip(), source, scopes))


_NAME = re.compile(r"%[\w$]+(?:\.[xyz])?|[A-Za-z_$][\w$]*")


def _statement(body: str, line: int, text: str, source: str, scopes: _Scopes) -> Statement:
    predicate, negated = None, False
    if body.startswith("@"):
        m = re.match(r"@\s*(!?)\s*([\w$%]+)\s*", body)
        assert m is not None
        negated, predicate = m.group(1) == "!", scopes.resolve(m.group(2))
        body = body[m.end() :]
    opcode, *rest = re.split(r"(?<=[\w])(?=[\s{\[])", body, maxsplit=1)
    operands = tuple(
        re.sub(r"\s+", "", _NAME.sub(lambda m: scopes.resolve(m.group()), operand))
        for operand in split_operands(rest[0] if rest else "")
    )
    return Statement(opcode.strip(), operands, predicate, negated, line, text, source)
