"""Beam search as it goes: the beams after each word, which of them grew on, and which died out."""

import math

import torch
from ipywidgets import IntSlider, Widget
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mmlib import plots
from mmlib.decode import Beams, beam_search, greedy
from mmlib.train import held
from mmlib.widgets.captions import END, WIDEST, CaptionDemo, Look
from mmlib.widgets.parts import control, counted

COLUMNS, ROW, SIDE = 5, 46, 96  # steps that are shown; pixels from one beam to the next, and side of the picture
WAITS = "…"  # a beam that has ended, and is kept
LOOKS = {"dead": ("grey", (0, (3, 3)), 1.2), "alive": ("ink", "-", 1.2), "best": ("vermillion", "-", 2.5)}


class TreeExplorer(CaptionDemo):
    """Watch beam search grow a caption, word by word: which beams go on, which die out, where the best one came from.

    Args and errors: see `CaptionDemo`.
    """

    css_class = "tree-explorer"

    def build(self) -> tuple[Figure, list[Artist], list[list[Widget]]]:
        """Make the other control and the figure."""
        most = self.tokenizer.positions - 1
        self.step = control(IntSlider, "words so far", 270, value=most, min=1, max=most)
        return *self._figure(), [[self.picture, self.step], [self.width, self.alpha]]

    def state(self) -> dict:
        """The numbers shown: picture, width, step, steps (of the whole search), nodes (of each step so far: word,
        parent, score, fate), beams (text and score of each at this step), caption, greedy, references.
        """
        with held(self.model, training=False), torch.inference_mode():
            asked = self.model, self.image, self.tokenizer
            found = beam_search(*asked, width=self.width.value, alpha=self.alpha.value)
            likeliest = greedy(*asked).texts[0]
        step = min(self.step.value, len(found.tree))
        nodes: list[list[dict]] = []
        for beams in found.tree[:step]:
            nodes.append(self._nodes(beams, nodes[-1] if nodes else []))
        _tell_fates(nodes)
        return {
            "picture": self.picture.value,
            "width": self.width.value,
            "step": step,
            "steps": len(found.tree),
            "nodes": nodes,
            "beams": [(_text_of(nodes, n), node["score"]) for n, node in enumerate(nodes[-1])],
            "caption": found.captions.texts[0],
            "greedy": likeliest,
            "references": self.right,
        }

    def _nodes(self, beams: Beams, before: list[dict]) -> list[dict]:
        rows = zip(*(part[0].tolist() for part in (beams.word, beams.parent, beams.score)), strict=True)
        ended = [node["word"] in (END, WAITS) for node in before] or [False]
        return [
            {
                "word": WAITS if ended[parent] else self.label(word),
                "parent": parent,
                "score": score,
                "fate": "dead",
            }
            for word, parent, score in rows
            if math.isfinite(score)
        ]

    def _end_steps_at(self, most: int, value: int) -> None:
        """Put a slider with this end in place of the one before, whose End key would go to its old end all the same."""
        old = self.step
        self.step = IntSlider(value, min=1, max=most, description=old.description, style=old.style, layout=old.layout)
        self.listen_to(self.step)
        self.children[0].children = self.picture, self.step
        old.close()

    def _figure(self) -> tuple[Figure, list[Artist]]:
        top, height = 34, ROW * WIDEST
        figure = plots.blank(top + height + 10)
        self.look = Look(figure, 8, top + (height - SIDE) // 2, SIDE)
        self.title = plots.title_at(figure, 8, 8)
        axes = plots.place(figure, 8 + SIDE, top, plots.WIDTH - 8 - SIDE, height)
        axes.set_axis_off()
        axes.set(xlim=(0, plots.WIDTH - 8 - SIDE), ylim=(height, 0))
        self.lines = {}
        for fate, (colour, dash, width) in LOOKS.items():
            self.lines[fate] = LineCollection([], colors=plots.PALETTE[colour], linestyles=[dash], linewidths=width)
            axes.add_collection(self.lines[fate], autolim=False)
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white"}
        centre = {"ha": "center", "va": "center", "linespacing": 1.1}
        self.boxes = [
            [axes.text(0, 0, "", bbox=dict(box), **centre, **plots.type_style()) for n in range(WIDEST)]
            for column in range(COLUMNS)
        ]
        boxes = [text for column in self.boxes for text in column]
        return figure, [*self.look.moving, self.title, *self.lines.values(), *boxes]

    def draw(self, state: dict) -> None:
        """Grow the tree as far as the slider says, and let another slider in where the search ends elsewhere."""
        if state["steps"] != self.step.max:
            self._end_steps_at(state["steps"], state["step"])
        self.look.show(self.pictures[state["picture"]], None)
        columns = min(state["steps"], COLUMNS)
        hidden = max(0, state["step"] - columns)
        after = f", from word {hidden + 1} on" if hidden else ""
        self.title.set_text(f"{state['width']} beams after {counted(state['step'], 'word')}{after}")
        self._draw_nodes(state["nodes"][hidden:], hidden == 0, (plots.WIDTH - 16 - SIDE) / columns)

    def _draw_nodes(self, nodes: list[list[dict]], from_start: bool, step: float) -> None:
        segments = {fate: [] for fate in LOOKS}
        for column, texts in enumerate(self.boxes):
            shown = nodes[column] if column < len(nodes) else []
            for n, text in enumerate(texts):
                text.set_visible(n < len(shown))
            for n, (text, node) in enumerate(zip(texts, shown, strict=False)):
                colour, dash, width = LOOKS[node["fate"]]
                word = plots.fit(node["word"], step - 40)
                text.set(text=f"{word}\n{node['score']:.2f}", color=plots.PALETTE[colour])
                text.set_position(_spot(column, n, step))
                text.get_bbox_patch().set(edgecolor=plots.PALETTE[colour], linestyle=dash, linewidth=width)
                if column or from_start:
                    before = _spot(column - 1, node["parent"], step) if column else (4.0, ROW * WIDEST / 2)
                    segments[node["fate"]].append([before, _spot(column, n, step)])
        for fate, lines in self.lines.items():
            lines.set_segments(segments[fate])

    def words(self, state: dict) -> str:
        """What the picture shows."""
        text, score = state["beams"][0]
        earlier = [node["fate"] for nodes in state["nodes"][:-1] for node in nodes]
        dead = f" Of {counted(len(earlier), 'earlier beam')}, {earlier.count('dead')} died out." if earlier else ""
        greedy_too = "says the same" if state["greedy"] == state["caption"] else f"says “{state['greedy']}”"
        right = "right" if state["caption"] in state["references"] else f"not “{state['references'][0]}”"
        return (
            f"After {counted(state['step'], 'word')} the best of {counted(len(state['beams']), 'beam')} is “{text}”, "
            f"score {score:.2f}.{dead} With length penalty {self.alpha.value:.1f} the search ends after "
            f"{counted(state['steps'], 'word')} with “{state['caption']}”, {right}. Greedy decoding, which is beam "
            f"width 1, {greedy_too}."
        )


def _spot(column: int, n: int, step: float) -> tuple[float, float]:
    return (column + 0.5) * step + 8, ROW * (n + 0.5)


def _tell_fates(nodes: list[list[dict]]) -> None:
    """Alive is what a beam of the last step grew from, best what its first one grew from."""
    for n, fate in [*((n, "alive") for n in range(len(nodes[-1]))), (0, "best")]:
        for step in reversed(nodes):
            step[n]["fate"] = fate
            n = step[n]["parent"]


def _text_of(nodes: list[list[dict]], n: int) -> str:
    """The words on the way to beam n of the last step."""
    words = []
    for step in reversed(nodes):
        words.append(step[n]["word"])
        n = step[n]["parent"]
    return " ".join(word for word in reversed(words) if word not in (WAITS, END))
