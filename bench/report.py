# SPDX-License-Identifier: MIT
"""Where figures are kept (figures.json) and how they are shown (figures.md, SVG).

Each table is kept with the machine and the commands that made it and with the time that it took, so that one can be made again alone; the others
stay as they are.
"""
import json
import os
import pathlib
import subprocess

SHARED = ("Machines differ, and minutes do: absolute numbers belong to the machine beside them. What is compared took turns in one run, what counts is "
          "the ratio; numbers are medians.")


def machine():
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = next(line.split(":")[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name"))
    version = lambda *argv: subprocess.run(argv, stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": os.uname().release.split("-")[0], "virtual": "hypervisor" in cpuinfo,
            "qemu-storage-daemon": version("qemu-storage-daemon", "--version").split("version ")[-1].split()[0],
            "compiler": version("gcc", "--version").replace("gcc ", "", 1)}


class Store:
    """{table: {rows, commands, machine, seconds, options}}; written after each table."""

    def __init__(self, out, order):
        self.out, self.order = pathlib.Path(out), order
        self.out.mkdir(parents=True, exist_ok=True)
        self.path = self.out / "figures.json"
        self.tables = json.loads(self.path.read_text())["tables"] if self.path.exists() else {}

    def put(self, name, **table):
        self.tables[name] = table
        self.path.write_text(json.dumps({"tables": self.tables}, indent=1) + "\n")

    def rows(self, name):
        return self.tables[name]["rows"] if name in self.tables else None

    def write_markdown(self, figures):
        text = ["# Figures", "", f"Made by `make bench`, one table by `make bench ONLY=NAME`. {SHARED}", ""]
        text += [section(name, figures[name], self.tables[name]) for name in self.order if name in self.tables]
        (self.out / "figures.md").write_text("\n".join(text))


def number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def flatten(cells):
    """Nested dicts become columns `candidate key`."""
    flat = {}
    for key, value in cells.items():
        for sub, number_ in (value.items() if isinstance(value, dict) else [(None, value)]):
            flat[f"{key} {sub}" if sub else key] = number_
    return flat


def markdown(name, figure, rows):
    flat = {row: flatten(cells) for row, cells in rows.items()}
    columns = list(dict.fromkeys(c for cells in flat.values() for c in cells))
    notes = [" ".join(part.split()) for part in figure.__doc__.split("\n\n")]
    lines = [f"## {name}", "", "\n\n".join(notes), "", "| | " + " | ".join(columns) + " |",
             "|---|" + "---:|" * len(columns)]
    lines += [f"| {row} | " + " | ".join(number(cells[c]) if c in cells else "" for c in columns) + " |" for row, cells in flat.items()]
    return "\n".join(lines) + "\n"


def section(name, figure, table):
    took = f", took {table['seconds'] / 60:.1f} min" if table.get("seconds") else ""
    options = f" {table['options']}" if table.get("options") else ""
    lines = [markdown(name, figure, table["rows"]),
             f"`bench/figures.py --build build --only {name}{options}`{took}. Machine: " +
             ", ".join(f"{k} {v}" for k, v in table["machine"].items()) + ".", ""]
    if table["commands"]:
        lines += ["```", *table["commands"], "```", ""]
    return "\n".join(lines)


def plot(out, name, title, rows, unit="IOPS"):
    """One SVG: a group of bars for each row, a bar for each column that is no ratio."""
    columns = [c for c, value in next(iter(rows.values())).items() if not isinstance(value, dict) and "/" not in c]
    data = "\n".join('"%s" %s' % (row, " ".join(f"{cells[c]:.0f}" for c in columns)) for row, cells in rows.items())
    plots = ", ".join(f"$d using {i + 2}:xtic(1) title '{c}'" for i, c in enumerate(columns))
    script = f"""set terminal svg size 980,420 font 'sans,13' background 'white'
set output '{out / (name + ".svg")}'
set title '{title}'
set style data histogram
set style fill solid 0.8 border -1
set boxwidth 0.9
set yrange [0:*]
set format y '%.0f'
set ylabel '{unit}'
set grid ytics
set key top left
$d << EOD
{data}
EOD
plot {plots}
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)
