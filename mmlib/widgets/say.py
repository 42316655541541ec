"""Say it: a digit in any voice, accent and language, fast or slow, high or low, and what a model hears in it."""

from collections.abc import Callable, Mapping, Sequence

import torch
from ipywidgets import Audio, Dropdown, HBox, IntSlider, Layout, VBox
from jaxtyping import Float
from torch import Tensor, nn

from mmlib import plots
from mmlib.check import refuse
from mmlib.train import evaluate
from mmlib.widgets.clips import BAR_STEP, ROW_OF_CONTROLS, Bars, show_all
from mmlib.widgets.live import LABEL, Live, answer_while_cells_run
from mmlib.widgets.senses import DIGITS, LOG_MEL, Table

WORDS = [str(digit) for digit in range(DIGITS)]  # the synthesiser reads them in any language
TOP, HEIGHT = 34, 120  # pixels
NORMAL_RATE, NORMAL_PITCH = 175, 50


class SayItExplorer(VBox):
    """Choose a language, a voice, a rate, a pitch and a digit; hear it, and see what the model makes of it.

    All ten digits are said, so that a language in which one word happens to sound English is not taken for a language
    that the model understands.

    Args:
        model: log-mel pictures as `sound` -> output with `logits` of the digits 0 to 9.
        say: (digits as texts, voice, rate, pitch) -> clips; a voice is `code+name`.
        listen: waves to log-mel pictures.
        heard: name of each language or accent of the training -> its code.
        unheard: name of each other language -> its code.
        voices: names of the voices.
        rate: samples a second, for the player.

    Raises:
        ValueError: no language, no voice, or a language that is both heard and unheard.
    """

    def __init__(
        self,
        model: nn.Module,
        say: Callable[[Sequence[str], str, int, int], Tensor],
        listen: Callable[[Tensor], Tensor],
        heard: Mapping[str, str],
        unheard: Mapping[str, str],
        voices: Sequence[str],
        rate: int = 8000,
    ):
        both = sorted(set(heard.values()) & set(unheard.values()))
        if both or not voices or not [*heard, *unheard]:
            got = (
                f"{', '.join(both)} in both" if both else f"{len(heard) + len(unheard)} languages, {len(voices)} voices"
            )
            refuse("SayItExplorer", "a voice and a language, each heard in training or not", got)
        self.model, self.say, self.listen, self.rate = model, say, listen, rate
        self.unheard = set(unheard.values())
        options = [*heard.items(), *((f"{name} (never heard)", code) for name, code in unheard.items())]
        self.language = Dropdown(options=options, description="language", style=LABEL, layout=Layout(width="360px"))
        self.voice = Dropdown(options=list(voices), description="voice", style=LABEL, layout=Layout(width="170px"))
        self.digit = Dropdown(options=WORDS, value="7", description="digit", style=LABEL, layout=Layout(width="110px"))
        wide = {"style": LABEL, "layout": Layout(width="400px"), "step": 5}
        self.speed = IntSlider(NORMAL_RATE, min=80, max=450, description="words a minute", **wide)
        self.pitch = IntSlider(NORMAL_PITCH, min=0, max=95, description="pitch", **wide)
        self._draw_empty()
        self.player = Audio(format="wav", autoplay=False, loop=False, layout=Layout(width="300px", height="40px"))
        rows = [self.language, self.voice, self.digit], [self.speed, self.pitch]
        controls = [control for row in rows for control in row]
        answer_while_cells_run(*controls, self.player)
        for control in controls:
            control.observe(lambda change: self.live.refresh(self._update), "value")
        boxes = [HBox(row, layout=ROW_OF_CONTROLS) for row in rows]
        super().__init__([*boxes, self.live.image, self.player, self.live.words])
        self.add_class("say-explorer")
        self.live.refresh(self._update)

    def state(self) -> dict:
        """The numbers shown: language (its code), never_heard, voice, digit, speed, pitch, probabilities, predicted,
        right (how many of the ten digits), answers: for each digit said (predicted, probability of the digit said).
        """
        return self._state(self._spoken())

    def _spoken(self) -> Float[Tensor, "10 samples"]:
        """All ten digits as they are chosen to be said."""
        return self.say(WORDS, f"{self.language.value}+{self.voice.value}", self.speed.value, self.pitch.value)

    def _state(self, waves: Float[Tensor, "10 samples"]) -> dict:
        logits = evaluate(self.model, lambda sound: self.model(sound=sound).logits, self.listen(waves))
        if logits.shape != (DIGITS, DIGITS):
            got = f"logits {tuple(logits.shape)}"
            refuse("SayItExplorer", f"a clip of each digit, and logits (b={DIGITS}, classes={DIGITS})", got)
        probabilities, predicted = logits.softmax(dim=1), logits.argmax(dim=1).tolist()
        digit = int(self.digit.value)
        own = probabilities.diagonal().tolist()
        return {
            "language": self.language.value,
            "never_heard": self.language.value in self.unheard,
            "voice": self.voice.value,
            "digit": digit,
            "speed": self.speed.value,
            "pitch": self.pitch.value,
            "probabilities": probabilities[digit].tolist(),
            "predicted": predicted[digit],
            "right": sum(n == called for n, called in enumerate(predicted)),
            "answers": list(zip(predicted, own, strict=True)),
        }

    def _draw_empty(self) -> None:
        below = TOP + HEIGHT + 26
        figure = plots.blank(below + 28 + BAR_STEP * DIGITS + 12)
        self.wave = plots.wave_in(plots.place(figure, 8, TOP, 380, HEIGHT), torch.zeros(self.rate), 1.0)
        logmel = self.listen(torch.zeros(1, self.rate))[0]
        self.logmel = plots.logmel_in(plots.place(figure, 440, TOP, 400, HEIGHT), logmel, LOG_MEL)
        self.bars, self.table = Bars(figure, below, WORDS), Table(figure, below, 566, WORDS)
        for left, top, title in (
            (8, 8, "what is said, over a second"),
            (440, 8, "what the model gets, as a log-mel picture"),
            (440, below, "all ten digits: probability of what was said"),
        ):
            place = left / plots.WIDTH, 1 - top / figure.bbox.height
            figure.text(*place, title, va="top", **plots.type_style(weight="bold"))
        self.live = Live(figure, [self.wave, self.logmel, *self.bars.moving, *self.table.moving])

    def _update(self) -> str:
        try:
            waves = self._spoken()
            state = self._state(waves)
        except Exception:
            show_all(self.live.moving, False)  # no bars of an older answer beside the words of an error
            self.live.draw()
            raise
        show_all(self.live.moving, True)
        digit, wave = state["digit"], waves[state["digit"]]
        self.player.value = plots.to_wav(wave, self.rate)
        self.wave.set_ydata((wave / wave.abs().max()).numpy())
        self.logmel.set_data(self.listen(wave[None])[0].numpy())
        self.bars.show(state["probabilities"], {digit: ("//", "said")})
        rows = [(own, f"{own:.2f}, hears {predicted}") for predicted, own in state["answers"]]
        self.table.show(rows, digit)
        return self._words(state)

    def _words(self, state: dict) -> str:
        name = self.language.label.removesuffix(" (never heard)")
        known = "a language that the model never heard" if state["never_heard"] else "as in the training"
        predicted = state["predicted"]
        answer = f"hears {predicted} ({state['probabilities'][predicted]:.0%})"
        return (
            f"{state['digit']} in {name}, {known}, voice {state['voice']}, {state['speed']} words a minute, pitch "
            f"{state['pitch']}: the model {answer}. Of the ten digits said so, {state['right']} are heard right."
        )
