"""The package's layers, read from its syntax trees: imports point down, and the analysis knows no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "altgrad"

# What each part may import, itself apart. `errors` and `version` are open to all, the package itself to none.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "version": set(),
    "schema": set(),
    "parquet": {"schema"},
    "numerics": set(),
    "nn": {"numerics"},
    "models": {"numerics"},
    "optim": {"nn", "numerics"},
    "data": {"numerics", "study", "schema"},
    "study": {"numerics.format", "numerics.catalog", "schema"},
    "telemetry": {"data", "models", "nn", "numerics", "optim", "parquet", "schema", "study"},
    "training": {"data", "models", "nn", "numerics", "optim", "parquet", "schema", "study", "telemetry"},
    "analysis": {"numerics.catalog", "numerics.format", "parquet", "schema", "study"},
    "figures": {"analysis", "numerics.catalog", "numerics.format", "schema", "study"},
    "reporting": {"analysis", "figures", "numerics.catalog", "numerics.format", "schema", "study"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT) | {"numerics.format", "numerics.catalog"}

TORCH_FREE = ("analysis", "cli", "figures", "parquet", "reporting", "schema", "study")


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def imports(tree: ast.Module, at_import_time: bool = False) -> set[str]:
    """Return the modules that a file imports, `if TYPE_CHECKING:` included unless only import time counts."""
    found: set[str] = set()
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in MODULES else node.module for name in names)
        if at_import_time:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                nodes.extend(node.orelse)
                continue
        nodes.extend(ast.iter_child_nodes(node))
    return found


def part_of(module: str) -> str:
    return module.removeprefix("altgrad").removeprefix(".").split(".")[0]


def allowed(importer: str, imported: str) -> bool:
    """Whether one module of the package may import another."""
    inner = imported.removeprefix("altgrad").removeprefix(".")
    part = part_of(importer)
    if part_of(imported) in (part, "errors", "version") or not part:
        return True
    return any(inner == name or inner.startswith(f"{name}.") for name in MAY_IMPORT[part])


def test_imports_point_down() -> None:
    wrong = [
        f"{importer} imports {imported}"
        for importer, tree in MODULES.items()
        for imported in imports(tree)
        if imported.split(".")[0] == "altgrad" and not allowed(importer, imported)
    ]
    assert not wrong


def test_the_rule_can_tell_up_from_down() -> None:
    assert allowed("altgrad.training.loop", "altgrad.optim.base")
    assert not allowed("altgrad.optim.base", "altgrad.training.loop")
    assert not allowed("altgrad.analysis.tables", "altgrad.numerics.rounding")
    assert allowed("altgrad.analysis.tables", "altgrad.numerics.catalog")
    assert imports(ast.parse("from altgrad.optim import base\nimport os.path")) == {"altgrad.optim.base", "os.path"}


def test_every_part_has_its_place() -> None:
    assert {part_of(module) for module in MODULES} - {""} == set(MAY_IMPORT)


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        name: {other for other in imports(tree, at_import_time=True) if other in MODULES and other != name}
        for name, tree in MODULES.items()
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"a circle: {' -> '.join((*above[above.index(module) :], module))}"
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*above, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


@pytest.mark.parametrize("part", TORCH_FREE)
def test_no_torch(part: str) -> None:
    """Importing every module of the part leaves torch alone; for the command line, pandas and pydantic too."""
    modules = sorted(name for name in MODULES if part_of(name) == part)
    banned = {"torch", "pandas", "numpy", "pydantic", "matplotlib"} if part == "cli" else {"torch"}
    code = f"import sys, {', '.join(modules)}; print(sorted({banned!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
