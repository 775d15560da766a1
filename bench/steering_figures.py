# SPDX-License-Identifier: MIT
"""What steering costs."""


def figure_steering(bench):
    """Nanoseconds of a pair of steer_enter and steer_leave, as a thread sees them; no ring. Each thread has a CPU.

    sticky keeps the order of a flow, per-cpu does not. A flow of its own for each thread is the usual case; "one flow" is two threads
    that take turns in one LUN from two CPUs, where the line of the flow travels with each request, and where sticky moves the flow and
    holds requests for it (tries that were held count as time of those that were not)."""
    seconds = str(bench.args.seconds)
    rows = {}
    for row, options in {"1 thread": ["--threads=1"], "1 thread, never idle": ["--threads=1", "--busy"], "2 threads": ["--threads=2"],
                         "2 threads, never idle": ["--threads=2", "--busy"], "2 threads, one flow": ["--threads=2", "--shared"]}.items():
        rows[row] = bench.rounds(**{f"{policy} ns": (lambda p=policy, o=options: bench.program(
            "steer_bench", f"--policy={p}", f"--seconds={seconds}", *o)) for policy in ("sticky", "per-cpu")})
    for row in rows.values():
        row["sticky/per-cpu"] = row["sticky ns"] / row["per-cpu ns"]
    return rows
