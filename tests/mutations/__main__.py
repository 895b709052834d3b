"""`python -m tests.mutations [CLAUSE…] [--sample N --seed S] [--processes P]`: try recorded mutations of the code.

With `--list`, print the clauses with their tests and the places of their mutations, one a line, and try nothing.

Each is applied to a copy, and the tests that it names must turn red. Prints a line for each, then the survivors; the
exit code is 1 if there are any, 2 if a mutation does not fit the code or a test is red without any.
"""

from __future__ import annotations

import argparse
import random
import sys

from tests.mutations.catalogue import SEMANTICS, Mutation, load_clauses, load_mutations, misfits, overview
from tests.mutations.runner import Verdict, check_unmutated, try_all


def choose(mutations: list[Mutation], clauses: list[str], sample: int | None, seed: int) -> list[Mutation]:
    """The mutations of these clauses (or chapters; all if none is named), or a seeded sample of them."""
    chosen = [mutation for mutation in mutations if is_chosen(mutation.clause, clauses)]
    if sample is None or sample >= len(chosen):
        return chosen
    return random.Random(seed).sample(chosen, sample)


def is_chosen(number: str, clauses: list[str]) -> bool:
    """Whether this clause, or its chapter, was asked for."""
    return not clauses or number in clauses or number.partition(".")[0] in clauses


def show(verdict: Verdict) -> None:
    word = "killed  " if verdict.killed else "BROKEN  " if verdict.broken else "SURVIVED"
    print(f"{word} {verdict.mutation}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("clause", nargs="*", help="numbers of clauses or chapters of SEMANTICS.md; all if none")
    parser.add_argument("--sample", type=int, help="try only so many, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="print clauses, tests and mutations, and try none")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    mutations = choose(load_mutations(), given.clause, given.sample, given.seed)
    wrong = misfits(mutations)
    if wrong:
        print("\n\n".join(wrong))
        print(f"\n{len(wrong)} of {len(mutations)} mutations do not fit")
        return 2
    if given.list:
        clauses = load_clauses(SEMANTICS.read_text())
        lines = overview(
            {number: clause for number, clause in clauses.items() if is_chosen(number, given.clause)}, mutations
        )
        print("\n".join(lines))
        print(f"\n{len(lines)} clauses, {len(mutations)} mutations")
        return 0
    red = check_unmutated(mutations)
    if red:
        print(f"red without any mutation:\n{red}")
        return 2
    verdicts = try_all(mutations, processes=given.processes, done=show)
    survivors = [verdict for verdict in verdicts if not verdict.killed]
    for verdict in survivors:
        print(f"\n{verdict.mutation}\n  in {', '.join(verdict.mutation.tests)}")
        print(f"  {verdict.broken or 'still green: ' + ', '.join(verdict.green)}")
    print(f"\n{len(verdicts) - len(survivors)} of {len(verdicts)} mutations turned their tests red")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
