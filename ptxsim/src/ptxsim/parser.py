"""PTX text → kernels as lists of statements. Interprets only names, scopes and lines."""

from __future__ import annotations

import builtins
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

TYPE_BYTES = {"pred": 1} | {f"{k}{n}": n // 8 for k in "busf" for n in (8, 16, 32, 64, 128)} | {"f16x2": 4, "b16x2": 4}

# The elements of a kernel's body.
_ITEM = re.compile(
    r"\s*(?:(?P<open>\{)|(?P<close>\})|\.loc\s+(?P<file>\d+)\s+(?P<row>\d+)[^\n]*"
    r"|(?P<label>[A-Za-z_$%][\w$]*)\s*:(?!:)|(?P<body>[^;]*);)"
)
# Call sites of inlined code: in Triton's comment `// a.py:170:27 @[ b.py:191:40 @[ c.py:37:23 ] ]`, or in nvcc's form.
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
    """A declared variable or parameter: its size and alignment in bytes, and its initial bytes, if any."""

    name: str
    space: str
    type: str
    bytes: int
    align: int
    initial: builtins.bytes | None = None
    external: bool = False
    array: bool = False


class Statement(NamedTuple):
    """One instruction. Operands are strings; registers are already unique names (`%r1`, or `c@3` of a scope).

    parts: the opcode split at its dots.
    """

    opcode: str
    parts: tuple[str, ...]
    operands: tuple[str, ...]
    predicate: str | None
    negated: bool
    line: int
    text: str
    source: str


@lru_cache(maxsize=4096)
def _parts(opcode: str) -> tuple[str, ...]:
    return tuple(opcode.replace("::", "_").split("."))


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


_MARK = re.compile(r"[{}()\[\],]")


def split_operands(text: str) -> list[str]:
    """Split at commas outside braces and brackets."""
    if "[" not in text and "{" not in text and "(" not in text:
        return [part.strip() for part in text.split(",")] if text.strip() else []
    found, depth, start = [], 0, 0
    for mark in _MARK.finditer(text):
        c = mark[0]
        if c == ",":
            if depth == 0:
                found.append(text[start : mark.start()].strip())
                start = mark.end()
        else:
            depth += 1 if c in "{[(" else -1
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
    """Blank out comments, keeping line numbers."""
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
    """Register names of nested `{…}`: an inner name hides an outer one, so each gets a unique name."""

    def __init__(self, registers: dict[str, str]) -> None:
        self.registers = registers
        self.stack: list[dict[str, str]] = [{}]
        self.ranges: list[dict[str, str]] = [{}]
        self.opened = 0
        self._operands: dict[str, str] = {}

    def push(self) -> None:
        self._operands = {}
        self.opened += 1
        self.stack.append({})
        self.ranges.append({})

    def pop(self) -> None:
        self._operands = {}
        self.stack.pop()
        self.ranges.pop()

    def declare(self, kind: str, names: str) -> None:
        self._operands = {}
        suffix = f"@{self.opened}" if len(self.stack) > 1 else ""
        for name in split_operands(names):
            m = re.fullmatch(r"(.*?)\s*<\s*\d+\s*>", name)
            if m:
                self.ranges[-1][m.group(1)] = kind
            else:
                self.stack[-1][name] = name + suffix
                self.registers[name + suffix] = kind

    def operand(self, text: str) -> str:
        """An operand without spaces, with unique register names."""
        known = self._operands.get(text)
        if known is None:
            if text[1:].isalnum():  # usually a register or a number
                known = self.resolve(text)
            else:
                known = _SPACE.sub("", _NAME.sub(lambda m: self.resolve(m.group()), text))
            self._operands[text] = known
        return known

    def resolve(self, name: str) -> str:
        numbered = len(name.rstrip(_DIGITS)) or len(name)
        for names, ranges in zip(reversed(self.stack), reversed(self.ranges), strict=True):
            if name in names:
                return names[name]
            for cut in range(numbered, len(name)):
                if name[:cut] in ranges:
                    self.registers.setdefault(name, ranges[name[:cut]])
                    return name
        return name


def _source(loc: re.Match[str], raw: str, files: dict[int, str]) -> str:
    """`file:line` of a `.loc`, and its call sites if it was inlined."""
    callers = _CALLER_COMMENT.findall(raw)
    callers += [f"{files.get(int(f), '?').rsplit('/', 1)[-1]}:{line}" for f, line in _CALLER.findall(raw)]
    called = "".join(f" called at {c}" for c in callers)
    return f"{files.get(int(loc['file']), '?')}:{loc['row']}{called}"


def _body(kernel: Kernel, text: str, start: int, end: int, lines: list[str], files: dict[int, str]) -> None:
    """Add the statements between `start` and `end` to `kernel`."""
    scopes = _Scopes(kernel.registers)
    source = UNKNOWN_SOURCE
    line, counted = text.count("\n", 0, start) + 1, start
    table: str | None = None
    while (item := _ITEM.match(text, start, end)) is not None:
        start = item.end()
        kind = item.lastgroup
        if kind == "open":
            scopes.push()
        elif kind == "close":
            scopes.pop()
        elif kind == "label":
            table = item["label"]
            kernel.labels[table] = len(kernel.statements)
        else:
            first = item.start(kind or 0)
            line += text.count("\n", counted, first)
            counted = first
            if kind == "row":
                source = _source(item, lines[line - 1], files)
            else:
                _declaration_or_statement(kernel, item["body"].strip(), scopes, table, (line, lines[line - 1].strip(), source))


def _declaration_or_statement(
    kernel: Kernel, body: str, scopes: _Scopes, table: str | None, where: tuple[int, str, str]
) -> None:
    """Parse text up to a semicolon. table: the label before it; where: its line, that line's text, and its source."""
    if not body.startswith("."):
        if body:
            kernel.statements.append(_statement(body, where, scopes))
    elif body.startswith(".branchtargets") and table is not None:
        kernel.tables[table] = split_operands(body[len(".branchtargets") :])
    elif body.startswith(".reg"):
        kind, names = re.match(r"\.reg\s*\.(\w+)\s+(.*)", body, re.S).groups()  # type: ignore[union-attr]
        scopes.declare(kind, names)
    elif m := re.match(r"\.(shared|local)\b(.*)", body, re.S):
        kernel.variables.append(_variable(m.group(1), m.group(2)))


_DIGITS = "0123456789"
_SPACE = re.compile(r"\s+")
_OPCODE = re.compile(r"([^\s{\[]+)\s*(.*)", re.S)
_NAME = re.compile(r"%[\w$]+(?:\.[xyz])?|[A-Za-z_$][\w$]*")


def _statement(body: str, where: tuple[int, str, str], scopes: _Scopes) -> Statement:
    predicate, negated = None, False
    if body.startswith("@"):
        m = re.match(r"@\s*(!?)\s*([\w$%]+)\s*", body)
        assert m is not None
        negated, predicate = m.group(1) == "!", scopes.resolve(m.group(2))
        body = body[m.end() :]
    found = _OPCODE.match(body)
    if found is None:
        raise ValueError(f"cannot read the statement {body!r}")
    opcode, rest = found.groups()
    operands = tuple([scopes.operand(operand) for operand in split_operands(rest)])
    return Statement(opcode, _parts(opcode), operands, predicate, negated, *where)
