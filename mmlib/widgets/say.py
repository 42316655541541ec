"""Say it: a digit in any voice, accent and language, fast or slow, high or low, and what a model hears in it."""

from collections.abc import Callable, Mapping, Sequence

import torch
from ipywidgets import Audio, Dropdown, IntSlider, Layout
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from torch import Tensor, nn

from mmlib import plots
from mmlib.check import refuse
from mmlib.train import evaluate
from mmlib.widgets.live import Demo
from mmlib.widgets.parts import DIGITS, LOG_MEL, AnswerBars, ClassBars, control

WORDS = [str(digit) for digit in range(DIGITS)]  # the synthesiser reads them in any language
TOP, HEIGHT = 34, 120  # pixels
NORMAL_RATE, NORMAL_PITCH = 175, 50


class SayItExplorer(Demo):
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

    css_class = "say-explorer"

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
        self.language = control(Dropdown, "language", 360, options=options)
        self.voice = control(Dropdown, "voice", 170, options=list(voices))
        self.digit = control(Dropdown, "digit", 110, options=WORDS, value="7")
        self.speed = control(IntSlider, "words a minute", 400, value=NORMAL_RATE, min=80, max=450, step=5)
        self.pitch = control(IntSlider, "pitch", 400, value=NORMAL_PITCH, min=0, max=95, step=5)
        self.player = Audio(format="wav", autoplay=False, loop=False, layout=Layout(width="300px", height="40px"))
        rows = [[self.language, self.voice, self.digit], [self.speed, self.pitch]]
        super().__init__(*self._figure(), rows, [self.player])

    def state(self) -> dict:
        """What is shown: language (its code), never_heard, voice, digit, speed, pitch, wave (of the digit),
        probabilities, predicted, right (how many of the ten digits), answers: for each digit said (predicted,
        probability of the digit said).
        """
        voice = f"{self.language.value}+{self.voice.value}"
        waves = self.say(WORDS, voice, self.speed.value, self.pitch.value)
        logits = evaluate(self.model, lambda wave: self.model(sound=self.listen(wave)).logits, waves)
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
            "wave": waves[digit],
            "probabilities": probabilities[digit].tolist(),
            "predicted": predicted[digit],
            "right": sum(n == called for n, called in enumerate(predicted)),
            "answers": list(zip(predicted, own, strict=True)),
        }

    def _figure(self) -> tuple[Figure, list[Artist]]:
        below = TOP + HEIGHT + 26
        figure = plots.blank(below + ClassBars.height(WORDS) + 12)
        plots.title_at(figure, 8, 8, "what is said, over a second")
        self.wave = plots.wave_in(plots.place(figure, 8, TOP, 380, HEIGHT), torch.zeros(self.rate), 1.0)
        plots.title_at(figure, 440, 8, "what the model gets, as a log-mel picture")
        logmel = self.listen(torch.zeros(1, self.rate))[0]
        self.logmel = plots.logmel_in(plots.place(figure, 440, TOP, 400, HEIGHT), logmel, LOG_MEL)
        self.bars = ClassBars(figure, below, WORDS)
        self.table = AnswerBars(figure, below, WORDS, "all ten digits: probability of what was said")
        return figure, [self.wave, self.logmel, *self.bars.moving, *self.table.moving]

    def draw(self, state: dict) -> None:
        """Show the sound and what is heard in it, and let the player play it."""
        digit, wave = state["digit"], state["wave"]
        self.player.value = plots.to_wav(wave, self.rate)
        self.wave.set_ydata((wave / wave.abs().max()).numpy())
        self.logmel.set_data(self.listen(wave[None])[0].numpy())
        self.bars.mark(state["probabilities"], {digit: ("//", "said")})
        self.table.point([(own, f"{own:.2f}, hears {predicted}") for predicted, own in state["answers"]], digit)

    def words(self, state: dict) -> str:
        """What the picture shows."""
        name = self.language.label.removesuffix(" (never heard)")
        known = "a language that the model never heard" if state["never_heard"] else "as in the training"
        predicted = state["predicted"]
        answer = f"hears {predicted} ({state['probabilities'][predicted]:.0%})"
        return (
            f"{state['digit']} in {name}, {known}, voice {state['voice']}, {state['speed']} words a minute, pitch "
            f"{state['pitch']}: the model {answer}. Of the ten digits said so, {state['right']} are heard right."
        )
