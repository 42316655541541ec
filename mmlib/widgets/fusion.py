"""What each sense is worth when the other fails: a digit seen and heard, noise on both, the answer of every model."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from ipywidgets import Audio, BoundedIntText, Checkbox, Dropdown, FloatSlider, Layout, Widget
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from torch import Tensor, nn

from mmlib import plots
from mmlib.check import refuse
from mmlib.device import device_of, to_device
from mmlib.metrics import inverse_variance_weights
from mmlib.train import held, lock
from mmlib.widgets.live import Demo
from mmlib.widgets.parts import DIGITS, LOG_MEL, RIGHT, STEP, AnswerBars, ClassBars, control, show_all

ALONE = ("picture alone", "sound alone")
SAME = "the same digit"
Spoil = Callable[[Tensor, float, str], Tensor]


class FusionExplorer(Demo):
    """Choose a fusion, a digit, who writes and who speaks, and the noise on each sense, up to none at all.

    Shows what the model sees and hears (with a player), its probabilities, what every other model says of the same,
    and the weight of each sense beside the inverse-variance weight: the one that the errors of each sense alone, at
    this noise, make the best.
    Equation: w_m = (1 / var_m) / sum_k (1 / var_k)  (5.9)

    Args:
        models: name of each fusion -> a model (image=None, sound=None) -> output with `logits` and `weights`.
        alone: two such models, trained on pictures only and on sounds only.
        pictures, digits: held-out pictures with values in [0, 1], and what they show.
        waves, spoken, voices: held-out clips, what they say, and the name of who says it.
        spoil_picture, spoil_sound: (batch, level from 0 to 1, kind) -> the batch with noise.
        listen: waves to log-mel pictures.
        picture_errors, sound_errors: kind of noise -> squared error of that sense alone, at equal steps of level from
            0 to 1; more than one step.
        rate: samples a second, for the player.

    Raises:
        ValueError: no model, not one digit a picture and one digit and voice a clip, a digit that is
            written and never said, errors that are not positive.
    """

    css_class = "fusion-explorer"

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        alone: tuple[nn.Module, nn.Module],
        pictures: Float[Tensor, "n 1 h w"],
        digits: Int[Tensor, " _"],
        waves: Float[Tensor, "k samples"],
        spoken: Int[Tensor, " _"],
        voices: Sequence[str],
        spoil_picture: Spoil,
        spoil_sound: Spoil,
        listen: Callable[[Tensor], Tensor],
        picture_errors: Mapping[str, Sequence[float]],
        sound_errors: Mapping[str, Sequence[float]],
        rate: int = 8000,
    ):
        _check_data(models, pictures, digits, waves, spoken, voices, (picture_errors, sound_errors))
        self.models, self.alone, self.rate = dict(models), alone, rate
        self.pictures, self.waves, self.listen = pictures.cpu(), waves.cpu(), listen
        self.spoil = spoil_picture, spoil_sound
        self.errors = picture_errors, sound_errors
        self._pictures_of = {d: (digits == d).nonzero()[:, 0].tolist() for d in digits.unique().tolist()}
        said = list(zip(voices, spoken.tolist(), strict=True))
        self._clip_of = {key: n for n, (v, d) in reversed(list(enumerate(said))) for key in ((v, d), d)}
        self._voices = list(voices)
        rows = self._controls(voices)
        self.player = Audio(format="wav", autoplay=False, loop=False, layout=Layout(width="300px", height="40px"))
        super().__init__(*self._figure(), rows, [self.player])

    def state(self) -> dict:
        """What is shown: fusion, digit, heard, picture and clip (places), picture_noise, sound_noise, blindfold, mute,
        image, wave and logmel (with their noise; None for a sense that is taken away), probabilities, predicted,
        weights and inverse_variance (picture, sound; None where there are none), and answers: name of each model ->
        (predicted, probability of the digit seen), None for one that senses nothing.
        """
        image, wave = self._sensed()
        logmel = None if wave is None else self.listen(wave)
        digit, heard = self.digit.value, self._heard()
        asked = zip([*ALONE, *self.models], [*self.alone, *self.models.values()], strict=True)
        outputs = {name: self._ask(name, model, image, logmel) for name, model in asked}
        chosen = outputs[self.fusion.value]
        probabilities = chosen.logits[0].softmax(0) if chosen else None
        weights = chosen.weights if chosen else None
        return {
            "fusion": self.fusion.value,
            "digit": digit,
            "heard": heard,
            "picture": self._picture(),
            "clip": self._clip(),
            "picture_noise": self.picture_noise.value,
            "sound_noise": self.sound_noise.value,
            "blindfold": self.blindfold.value,
            "mute": self.mute.value,
            "image": image,
            "wave": wave,
            "logmel": logmel,
            "probabilities": probabilities.tolist() if chosen else None,
            "predicted": int(probabilities.argmax()) if chosen else None,
            "weights": None if weights is None else weights[0].tolist(),
            "inverse_variance": self._inverse_variance() if chosen else None,
            "answers": {
                name: (int(out.logits.argmax()), out.logits[0].softmax(0)[digit].item()) if out else None
                for name, out in outputs.items()
            },
        }

    def _controls(self, voices: Sequence[str]) -> list[list[Widget]]:
        digits = list(self._pictures_of)
        most = min(len(places) for places in self._pictures_of.values())
        self.fusion = control(Dropdown, "fusion", 170, options=list(self.models))
        self.digit = control(Dropdown, "digit", 110, options=[(str(d), d) for d in digits])
        self.writing = control(BoundedIntText, f"writing (1 to {most})", 170, value=1, min=1, max=most)
        self.voice = control(Dropdown, "voice", 150, options=list(dict.fromkeys(voices)))
        self.says = control(Dropdown, "says", 170, options=[(SAME, SAME), *((str(d), d) for d in digits)])
        level = {"value": 0.0, "min": 0.0, "max": 1.0, "step": 0.05}
        self.picture_noise = control(FloatSlider, "picture noise", 360, **level)
        self.sound_noise = control(FloatSlider, "sound noise", 360, **level)
        self.picture_kind = control(Dropdown, "kind of picture noise", 260, options=list(self.errors[0]))
        self.sound_kind = control(Dropdown, "kind of sound noise", 260, options=list(self.errors[1]))
        self.blindfold = control(Checkbox, "blindfold", 100, value=False, indent=False)
        self.mute = control(Checkbox, "mute", 100, value=False, indent=False)
        return [
            [self.fusion, self.digit, self.writing, self.voice, self.says],
            [self.picture_noise, self.picture_kind, self.blindfold],
            [self.sound_noise, self.sound_kind, self.mute],
        ]

    def _figure(self) -> tuple[Figure, list[Artist]]:
        side, top = 150, 34
        digits, models, below = [str(digit) for digit in range(DIGITS)], [*ALONE, *self.models], top + side + 30
        figure = plots.blank(below + max(ClassBars.height(digits), 28 + STEP * len(models)) + 12)
        for left, title in ((8, "what it sees"), (184, "what it hears, as a log-mel picture")):
            plots.title_at(figure, left, 8, title)
        plots.title_at(figure, RIGHT, 8, "weight of each sense")
        logmel = self.listen(self.waves[:1])[0]
        self.seen = plots.ink_in(plots.place(figure, 8, top, side, side), self.pictures[0])
        self.logmel = plots.logmel_in(plots.place(figure, 184, top, 340, side), logmel, LOG_MEL)
        grey = {"ha": "center", "va": "center", "color": plots.PALETTE["grey"]}
        words = (8 + side // 2, "blindfold"), (184 + 170, "mute")
        self.blanks = [plots.text_at(figure, left, top + side / 2, word, **grey) for left, word in words]
        self.learned = Shares(figure, top)
        self.best = Shares(figure, top + 76, "inverse variance, at this noise")
        self.bars = ClassBars(figure, below, digits)
        self.table = AnswerBars(figure, below, models, "all models: probability of the digit seen")
        parts = (self.learned, self.best, self.bars, self.table)
        sensed = [self.seen, self.logmel, *self.blanks, self.learned.line]
        return figure, [*sensed, *(artist for part in parts for artist in part.moving)]

    def _picture(self) -> int:
        return self._pictures_of[self.digit.value][self.writing.value - 1]

    def _heard(self) -> int:
        return self.digit.value if self.says.value == SAME else self.says.value

    def _clip(self) -> int:
        """By another voice if this one never says the digit."""
        return self._clip_of.get((self.voice.value, self._heard()), self._clip_of[self._heard()])

    def _sensed(self) -> tuple[Tensor | None, Tensor | None]:
        """The picture and the wave with their noise: the same noise each time, only more or less of it."""
        seen, wave = self.pictures[self._picture()][None], self.waves[self._clip()][None]
        with lock, torch.random.fork_rng(devices=[]):  # a training must not find other random numbers
            torch.default_generator.manual_seed(self._picture())
            seen = self.spoil[0](seen, self.picture_noise.value, self.picture_kind.value)
            torch.default_generator.manual_seed(self._clip())
            wave = self.spoil[1](wave, self.sound_noise.value, self.sound_kind.value)
        return None if self.blindfold.value else seen, None if self.mute.value else wave

    def _ask(self, name: str, model: nn.Module, image: Tensor | None, logmel: Tensor | None):
        if name == ALONE[0]:
            logmel = None
        if name == ALONE[1]:
            image = None
        if image is None and logmel is None:
            return None
        with held(model, training=False), torch.inference_mode():
            image, logmel = to_device((image, logmel), device_of(model))
            output = model(image=image, sound=logmel)
        if output.logits.shape != (1, DIGITS):
            got = f"logits {tuple(output.logits.shape)}"
            refuse("FusionExplorer", f"logits (b=1, classes={DIGITS})", f"{got} from {name!r}", "Digits are 0 to 9.")
        return output

    def _inverse_variance(self) -> list[float]:
        chosen = (self.picture_noise, self.picture_kind, self.blindfold), (self.sound_noise, self.sound_kind, self.mute)
        variances = []
        for errors, (level, kind, missing) in zip(self.errors, chosen, strict=True):
            at = errors[kind.value]
            measured = float(np.interp(level.value, np.linspace(0, 1, len(at)), at))
            variances.append(torch.inf if missing.value else measured)
        return inverse_variance_weights(torch.tensor(variances)).tolist()

    def draw(self, state: dict) -> None:
        """Show both senses, a blank with a word on it for one that is taken away, and all answers; fill the player."""
        senses = state["image"], state["logmel"]
        for artist, blank, sensed in zip((self.seen, self.logmel), self.blanks, senses, strict=True):
            artist.set_visible(sensed is not None)
            blank.set_visible(sensed is None)
            if sensed is not None:
                artist.set_data(sensed.reshape(sensed.shape[-2:]).numpy())
        fusion, weights = state["fusion"], state["weights"]
        own = f"{fusion}, {'for this pair' if fusion == 'attention' else 'for every pair'}"
        self.learned.line.set_text(own if weights else f"{fusion}: no weights to read")
        self.learned.show(weights)
        self.best.show(state["inverse_variance"])
        show_all(self.bars.moving, state["probabilities"] is not None)
        if state["probabilities"] is not None:
            seen, heard = state["digit"], state["heard"]
            apart = {heard: ("..", "heard"), seen: ("//", "seen")}
            self.bars.mark(state["probabilities"], {seen: ("//", "right")} if seen == heard else apart)
        rows = [
            (0.0, "senses nothing") if answer is None else (answer[1], f"{answer[1]:.2f}, says {answer[0]}")
            for answer in state["answers"].values()
        ]
        self.table.point(rows, list(state["answers"]).index(fusion))
        self.player.layout.display = "none" if state["wave"] is None else ""
        if state["wave"] is not None:
            self.player.value = plots.to_wav(state["wave"][0], self.rate)

    def words(self, state: dict) -> str:
        """What the picture shows."""
        digit, heard, predicted = state["digit"], state["heard"], state["predicted"]
        chosen, voice = self.voice.value, self._voices[state["clip"]]
        why = "" if voice == chosen else f", since {chosen} never says {heard}"
        hand = f"Writing {self.writing.value}, voice {voice}{why}."
        if predicted is None:
            return f"Nothing is seen and nothing is heard. Take the blindfold off, or unmute. {hand}"
        noise = f"{self.picture_kind.value} {state['picture_noise']:.2f}"
        seen = "sees nothing" if state["blindfold"] else f"sees a {digit} ({noise})"
        noise = f"{self.sound_kind.value} {state['sound_noise']:.2f}"
        sound = "hears nothing" if state["mute"] else f"hears “{heard}” ({noise})"
        weights = state["weights"]
        weight = f"Weight on the sound {weights[1]:.2f}" if weights else "It has no weights to read"
        return (
            f"The model “{state['fusion']}” {seen} and {sound}. It says {predicted} "
            f"({state['probabilities'][predicted]:.0%}). {weight}; inverse variance would give the sound "
            f"{state['inverse_variance'][1]:.2f}. {hand}"
        )


class Shares:
    """A bar from 0 to 1 that is divided between picture and sound, under a line that says whose weights they are."""

    def __init__(self, figure: Figure, top: int, line: str = ""):
        self.line = plots.text_at(figure, RIGHT, top + 2, line)
        axes = plots.place(figure, RIGHT, top + 24, plots.WIDTH - RIGHT - 24, 34)
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        self.parts = [
            axes.barh([0.5], [0], height=1, color=plots.PALETTE["blue"], edgecolor="white")[0],
            axes.barh([0.5], [0], height=1, color="white", hatch="//", edgecolor=plots.PALETTE["vermillion"])[0],
        ]
        colours = "white", plots.PALETTE["ink"]
        under = {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
        self.texts = [
            axes.text(x, 0.5, "", ha=side, va="center", **plots.type_style(color=colour), **box)
            for x, side, colour, box in zip((0.02, 0.98), ("left", "right"), colours, ({}, under), strict=True)
        ]
        self.moving = [*self.parts, *self.texts]

    def show(self, weights: Sequence[float] | None) -> None:
        """Divide the bar by the weights, or leave it empty."""
        show_all([*self.parts, *self.texts], weights is not None)
        if weights is None:
            return
        start = 0.0
        for part, text, weight, name in zip(self.parts, self.texts, weights, ("picture", "sound"), strict=True):
            part.set(x=start, width=weight)
            text.set(text=f"{name} {weight:.2f}", visible=weight > 0.36)  # where there is room for it
            start += weight


def _check_data(models, pictures, digits, waves, spoken, voices, errors) -> None:
    where = "FusionExplorer"
    if not models:
        refuse(where, "one fusion or more", "none")
    if len(digits) != len(pictures) or not len(spoken) == len(voices) == len(waves):
        got = f"{len(digits)} digits for {len(pictures)} pictures, {len(spoken)} digits and {len(voices)} voices"
        refuse(where, "a digit a picture, a digit and a voice a clip", f"{got} for {len(waves)} clips")
    unsaid = sorted(set(digits.tolist()) - set(spoken.tolist()))
    if unsaid:
        fix = "Record it, or show fewer."
        refuse(where, "a clip of each digit that is written", f"none of {', '.join(map(str, unsaid))}", fix)
    for table in errors:
        for kind, values in table.items():
            if len(values) < 2 or min(values) <= 0:
                fix = "They are squared errors of one sense alone, measured at levels from 0 to 1."
                refuse(where, f"two errors above 0 or more for {kind!r}", str(list(values)), fix)
