"""Ask which words belong together, by the pointwise mutual information of pairs in a text.

1. The text: the language reference that Python ships for its help(), each paragraph once.
2. Words that follow one another: the most frequent pairs, those of the highest PMI and of the
   highest NPMI, and what a text of the same words in random order makes of them.
3. Words that stand near each other, by positive PMI: which words have the same company.

    python examples/word_pairs.py --output build/word_pairs.png
"""

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from platform import python_version
from pydoc_data.topics import topics

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tqdm import tqdm

from torch_infotheory import (
    joint_table,
    mutual_information,
    pointwise_mutual_information,
    positive_pointwise_mutual_information,
)

WORDS = 500  # the most frequent ones; pairs with any other are left out
LEAST = 10  # pairs that are seen less often are not listed
NEAR = 4  # words
SHUFFLES = 10
SEED = 0
SHOWN = ("list", "str", "try", "import", "class", "true")
# Of the picture: words that say something alone, and with others.
DRAWN = """try except finally raise exception traceback import module function call arguments
positional keyword default class instance attribute method list tuple mutable immutable dictionary
mapping keys str bytes string integer float complex async await coroutine""".split()


def read_text() -> tuple[list[str], list[str]]:
    """The most frequent words, and all words of the text with an empty one between paragraphs."""
    paragraphs = dict.fromkeys(p for text in topics.values() for p in text.split("\n\n"))
    text = [word for p in paragraphs for word in ("", *re.findall("[a-z]{2,}", p.lower()))]
    counts = Counter(word for word in text if word)
    return [word for word, _ in counts.most_common(WORDS)], text


def numbers_of(text: Sequence[str], words: Sequence[str]) -> Tensor:
    number = {word: i for i, word in enumerate(words)}
    return torch.tensor([number.get(word, -1) for word in text])


def followers(labels: Tensor) -> Tensor:
    """How often word y follows word x. Labels below 0 are left out."""
    return joint_table(labels[:-1], labels[1:], WORDS, WORDS)


def companions(labels: Tensor) -> Tensor:
    """How often word y stands at most NEAR words from word x."""
    after = sum(joint_table(labels[:-d], labels[d:], WORDS, WORDS) for d in range(1, NEAR + 1))
    assert isinstance(after, Tensor)
    return after + after.T


def shuffled(labels: Tensor, generator: torch.Generator) -> Tensor:
    """The known words in random order, in the places where known words were."""
    known = labels >= 0
    words = labels[known]
    result = labels.clone()
    result[known] = words[torch.randperm(len(words), generator=generator)]
    return result


def best(scores: Tensor, counts: Tensor, least: int, number: int = 8) -> list[tuple[int, int]]:
    scores = torch.where(counts >= least, scores, -torch.inf)
    return [divmod(i, WORDS) for i in scores.flatten().topk(number).indices.tolist()]


def outermost(pmi: Tensor, counts: Tensor) -> list[tuple[int, int]]:
    """The pairs than which no other is both more frequent and higher in PMI, some way apart."""
    found, highest = [], -torch.inf
    for x, y in best(counts.double(), counts, LEAST, int((counts >= LEAST).sum())):
        if pmi[x, y] > highest + 0.3:
            highest = pmi[x, y].item()
            found.append((x, y))
    return found


def alike(table: Tensor, word: int, number: int = 5) -> list[int]:
    """The words whose rows of positive PMI point in the direction of this word's."""
    rows = positive_pointwise_mutual_information(table, kind="counts")
    rows = torch.nn.functional.normalize(rows, dim=1)
    similarity = rows @ rows[word]
    similarity[word] = -1
    return similarity.topk(number).indices.tolist()


def draw(
    path: Path,
    words: Sequence[str],
    counts: Tensor,
    pmi: Tensor,
    labeled: Sequence[tuple[int, int]],
    chance: tuple[Tensor, Tensor],
    near: Tensor,
) -> None:
    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(style):
        figure = Figure(figsize=(15, 6.4), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        for (table, scores), color, label in (
            ((counts, pmi), "#1f6f8b", "pairs in the text"),
            (chance, "#e08e45", "the same words in random order"),
        ):
            seen = table > 0
            left.plot(
                table[seen].numpy(), scores[seen].numpy(), ".", ms=3, color=color, label=label
            )
        for x, y in labeled:
            place = counts[x, y].item(), pmi[x, y].item()
            text = f"{words[x]} {words[y]}"
            left.annotate(text, place, (4, 3), textcoords="offset points", fontsize=8)
        left.axvline(LEAST - 0.5, color="gray", ls=":")
        left.set_xscale("log")
        left.set_xlabel("how often the pair is seen")
        left.set_ylabel("PMI (bits)")
        left.legend(loc="lower right", markerscale=3)
        image = right.imshow(near.numpy(), "viridis", vmin=0)
        right.set_xticks(range(len(DRAWN)), DRAWN, rotation=90)
        right.set_yticks(range(len(DRAWN)), DRAWN)
        right.set_title(f"positive PMI of words at most {NEAR} apart")
        figure.colorbar(image, ax=right, label="bits", shrink=0.8)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/word_pairs.png"))
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)

    words, text = read_text()
    labels = numbers_of(text, words)
    counts = followers(labels)
    console.print(
        f"Python {python_version()}: {sum(map(bool, text))} words, "
        f"{int(counts.sum())} pairs of the {WORDS} most frequent ones"
    )
    pmi = pointwise_mutual_information(counts, kind="counts", base=2)
    npmi = pointwise_mutual_information(counts, kind="counts", normalized=True)

    rankings = {
        "most frequent": best(counts.double(), counts, 1),
        "highest PMI": best(pmi, counts, LEAST),
        "highest NPMI": best(npmi, counts, LEAST),
    }
    for title, pairs in rankings.items():
        table = Table("pair", box=SIMPLE_HEAD, title=title)
        for column in ("seen", "PMI", "NPMI"):
            table.add_column(column, justify="right")
        for x, y in pairs:
            values = f"{counts[x, y]}", f"{pmi[x, y]:.2f}", f"{npmi[x, y]:.2f}"
            table.add_row(f"{words[x]} {words[y]}", *values)
        console.print(table)

    generator = torch.Generator().manual_seed(SEED)
    information, once, often = 0.0, [], []
    for _ in tqdm(range(SHUFFLES), desc="shuffles", leave=False):
        by_chance = followers(shuffled(labels, generator))
        information += mutual_information(by_chance, kind="counts", base=2).item() / SHUFFLES
        pmi_by_chance = pointwise_mutual_information(by_chance, kind="counts", base=2)
        once.append(pmi_by_chance[by_chance > 0].max().item())
        often.append(pmi_by_chance[by_chance >= LEAST].max().item())
    whole = mutual_information(counts, kind="counts", base=2)
    console.print(
        f"a word tells {whole:.3f} bits about the next, in random order {information:.3f}"
    )
    console.print(
        f"highest PMI in random order: {max(once):.2f} bits of any pair, "
        f"{max(often):.2f} of pairs seen {LEAST} times"
    )

    near = companions(labels)
    for word in SHOWN:
        similar = ", ".join(words[i] for i in alike(near, words.index(word)))
        console.print(f"the company of {word}: {similar}")

    ppmi = positive_pointwise_mutual_information(near, kind="counts", base=2)
    chosen = torch.tensor([words.index(word) for word in DRAWN])
    draw(
        options.output,
        words,
        counts,
        pmi,
        outermost(pmi, counts),
        (by_chance, pmi_by_chance),
        ppmi[chosen][:, chosen],
    )
    console.print(f"Done: drew {options.output}")


if __name__ == "__main__":
    main()
