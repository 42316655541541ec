"""The exercises of notebook 2: which they are, and answers as readers would write them."""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat

from mmlib.exercises import timesformer

NOTEBOOK, EXERCISES = "02_timesformer", timesformer
CHECKS = [
    timesformer.there,
    timesformer.back,
    timesformer.check_block,
    timesformer.check_class_token,
    timesformer.check_time_embedding,
]

# With one of these, a second mistake gives the very numbers of others: nobody could tell which of them were made.
AMBIGUOUS = [
    "time and space stand side by side",
    "the step across space has no effect",
    "you swapped videos and frames",
]

# ---- right answers


def tubes_by_loops(patches, t):
    n = patches.shape[1] // t
    return torch.stack([torch.stack([video[f * n + p] for f in range(t)]) for video in patches for p in range(n)])


def tubes_by_axes(patches, t):
    b, tokens, d = patches.shape
    return patches.view(b, t, tokens // t, d).permute(0, 2, 1, 3).reshape(-1, t, d)


def tokens_by_axes(rows, b):
    _, t, d = rows.shape
    return rows.reshape(b, -1, t, d).transpose(1, 2).reshape(b, -1, d)


def block_by_loops(block, tokens, t):
    c, n = tokens[:, :1], (tokens.shape[1] - 1) // t
    frames = [tokens[:, 1 + f * n : 1 + (f + 1) * n] for f in range(t)]
    for p in range(n):
        row = torch.stack([frame[:, p] for frame in frames], dim=1)
        row = row + block.project(block.temporal(block.norm_time(row)))
        frames = [torch.cat([f[:, :p], row[:, i : i + 1], f[:, p + 1 :]], dim=1) for i, f in enumerate(frames)]
    seen = [block.spatial(block.norm_space(torch.cat([c, frame], dim=1))) for frame in frames]
    c = c + sum(s[:, :1] for s in seen) / t
    tokens = torch.cat([c, *[frame + s[:, 1:] for frame, s in zip(frames, seen, strict=True)]], dim=1)
    return tokens + block.mlp(block.norm_mlp(tokens))


def encode_by_loops(blocks, tokens, t):
    for each in blocks:
        tokens = block_by_loops(each, tokens, t)
    return tokens[:, 0]


def time_by_hand(time, t):
    rows, frames = [], len(time)
    for k in range(t):
        s = min(max((k + 0.5) * frames / t - 0.5, 0), frames - 1)
        i = min(int(s), frames - 1)
        rows.append((1 - (s - i)) * time[i] + (s - i) * time[min(i + 1, frames - 1)])
    return torch.stack(rows)


def time_by_interpolate(time, t):
    return F.interpolate(time.T[None], size=t, mode="linear", align_corners=False)[0].T


RIGHT = [
    *[(timesformer.there, answer) for answer in (tubes_by_loops, tubes_by_axes)],
    (timesformer.back, tokens_by_axes),
    (timesformer.check_block, block_by_loops),
    (timesformer.check_class_token, encode_by_loops),
    *[(timesformer.check_time_embedding, answer) for answer in (time_by_hand, time_by_interpolate)],
]

# ---- wrong answers


def as_einops(pattern, name="t"):
    return lambda x, size: rearrange(x, pattern, **{name: size})


def tubes_by_view(patches, t):
    return patches.view(len(patches), t, -1, patches.shape[2]).transpose(1, 2).view(-1, t, patches.shape[2])


THERE = [
    ("mixes patches", as_einops("b (n t) d -> (b n) t d")),
    ("mixes patches", lambda patches, t: patches.reshape(-1, t, patches.shape[2])),
    ("patch by patch, (n b)", as_einops("b (t n) d -> (n b) t d")),
    ("rows across space", as_einops("b (t n) d -> (b t) n d")),
    ("Time and width are swapped", as_einops("b (t n) d -> (b n) d t")),
    ("all the videos one behind the other", as_einops("b (t n) d -> n (b t) d")),
    ("flatten videos and patches", as_einops("b (t n) d -> b n t d")),
    ("Nothing is cut", lambda patches, t: patches + 0),
    ("run backward", lambda patches, t: tubes_by_axes(patches, t).flip(1)),
    ("is detached", lambda patches, t: tubes_by_axes(patches, t).detach()),
    (
        "use reshape or rearrange, not view",
        lambda x, t: x.view(len(x), t, -1, x.shape[2]).transpose(1, 2).view(-1, t, 1),
    ),
]
BACK = [
    ("patch by patch, (n t)", as_einops("(b n) t d -> b (n t) d", "b")),
    ("patch by patch, (n t)", lambda rows, b: rows.reshape(b, -1, rows.shape[2])),
    ("in another video", as_einops("(n b) t d -> b (t n) d", "b")),
    ("Those are still rows", lambda rows, b: rows + 0),
    ("Flatten frames and patches", as_einops("(b n) t d -> b t n d", "b")),
    ("rows of one frame", as_einops("(b n) t d -> (b t) n d", "b")),
]


def mean_of_frames(c, seen):
    return c + seen.mean(dim=1)


def block_with(residuals="time mlp", norm=True, project=True, order=(0, 1), pool=mean_of_frames, last=False):
    """The block in a reader's way, with frames on an axis of their own, and with one thing wrong."""

    def answer(b, tokens, t):
        def time(c, x):
            rows = b.temporal(rearrange(b.norm_time(x), "b t n d -> (b n) t d"))
            step = rearrange(b.project(rows) if project else rows, "(b n) t d -> b t n d", b=len(x))
            return c, x + step if "time" in residuals else step

        def space(c, x):
            frames = torch.cat([c[:, None].expand(-1, t, -1, -1), x], dim=2)
            rows = rearrange(b.norm_space(frames) if norm else frames, "b t n d -> (b t) n d")
            seen = rearrange(b.spatial(rows), "(b t) n d -> b t n d", t=t)
            return pool(c, seen[:, :, :1]), x + seen[:, :, 1:]

        c, x = tokens[:, :1], rearrange(tokens[:, 1:], "b (t n) d -> b t n d", t=t)
        for place in order:
            c, x = (time, space)[place](c, x)
        parts = [c, rearrange(x, "b t n d -> b (t n) d")]
        tokens = torch.cat(parts[::-1] if last else parts, dim=1)
        return b.mlp(b.norm_mlp(tokens)) + (tokens if "mlp" in residuals else 0)

    return answer


def set_aside_and(pool=lambda c, x: c, joins=False):
    """Attention across space that leaves the class token out, or, where it joins, has all frames in one row."""

    def answer(b, tokens, t):
        c, x = tokens[:, :1], rearrange(tokens[:, 1:], "b (t n) d -> (b n) t d", t=t)
        x = x + b.project(b.temporal(b.norm_time(x)))
        if joins:
            row = torch.cat([c, rearrange(x, "(b n) t d -> b (t n) d", b=len(c))], dim=1)
            tokens = row + b.spatial(b.norm_space(row))
        else:
            x = rearrange(x, "(b n) t d -> (b t) n d", b=len(c))
            x = rearrange(x + b.spatial(b.norm_space(x)), "(b t) n d -> b (t n) d", t=t)
            tokens = torch.cat([pool(c, x), x], dim=1)
        return tokens + b.mlp(b.norm_mlp(tokens))

    return answer


set_aside = set_aside_and()


def with_token_in_time(b, tokens, t):
    row = b.norm_time(rearrange(tokens, "b (t n) d -> (b n) t d", t=t))  # one token too many for the pattern
    return tokens + b.project(b.temporal(row))


def class_token_of_all_frames(b, tokens, t):
    c, x = tokens[:, :1], rearrange(tokens[:, 1:], "b (t n) d -> (b n) t d", t=t)
    x = rearrange(x + b.project(b.temporal(b.norm_time(x))), "(b n) t d -> (b t) n d", b=len(tokens))
    x = torch.cat([c.repeat(t, 1, 1), x], dim=1)  # (t b), where the frames are (b t)
    x = x + b.spatial(b.norm_space(x))
    c = reduce(x[:, :1], "(b t) 1 d -> b 1 d", "mean", t=t)  # as the frames lie
    tokens = torch.cat([c, rearrange(x[:, 1:], "(b t) n d -> b (t n) d", t=t)], dim=1)
    return tokens + b.mlp(b.norm_mlp(tokens))


BLOCK = [
    ("residual along time is missing", block_with(residuals="mlp")),
    ("residual of the MLP is missing", block_with(residuals="time")),
    ("norm_space is missing", block_with(norm=False)),
    ("block.project is missing", block_with(project=False)),
    ("time comes after space", block_with(order=(1, 0))),
    ("thrown away", block_with(pool=lambda c, seen: c)),
    ("Take the mean, or long videos shout", block_with(pool=lambda c, seen: c + seen.sum(dim=1))),
    ("class token counts twice", block_with(pool=lambda c, seen: 2 * c + seen.mean(dim=1))),
    ("class token is last", block_with(last=True)),
    ("class token of another video", class_token_of_all_frames),
    ("the class token is set aside", set_aside),
    ("that is joint attention", set_aside_and(joins=True)),
    ("the patches cannot ask it", lambda *case: asks_without_being_asked(*case)),
    ("mean of the patches to the class token", set_aside_and(lambda c, x: c + x.mean(dim=1, keepdim=True))),
    ("one token too many", with_token_in_time),
    ("That is the class token alone", lambda b, tokens, t: block_by_loops(b, tokens, t)[:, 0]),
    ("The class token is gone", lambda b, tokens, t: block_by_loops(b, tokens, t)[:, 1:]),
    ("is detached", lambda b, tokens, t: block_by_loops(b, tokens, t).detach()),
]


def asks_without_being_asked(b, tokens, t):
    """The class token asks each frame, and the patches never see it."""
    rest = set_aside(b, tokens, t)[:, 1:]
    c, x = tokens[:, :1], rearrange(tokens[:, 1:], "b (t n) d -> (b n) t d", t=t)
    x = rearrange(x + b.project(b.temporal(b.norm_time(x))), "(b n) t d -> (b t) n d", b=len(tokens))
    row = torch.cat([repeat(c, "b 1 d -> (b t) 1 d", t=t), x], dim=1)
    c = c + reduce(b.spatial(b.norm_space(row))[:, :1], "(b t) 1 d -> b 1 d", "mean", t=t)
    return torch.cat([c + b.mlp(b.norm_mlp(c)), rest], dim=1)


def encoder(step, read=lambda tokens: tokens[:, 0]):
    def encode(blocks, tokens, t):
        for each in blocks:
            tokens = step(each, tokens, t)
        return read(tokens)

    return encode


CLASS_TOKEN = [
    ("every video still gets the same vector", encoder(set_aside)),
    ("the patches cannot ask it", encoder(asks_without_being_asked)),
    ("what it saw is lost", encoder(block_with(pool=lambda c, seen: c))),
    ("in the first frame alone", encoder(block_with(pool=lambda c, seen: c + seen[:, 0]))),
    ("forgets what it was", encoder(block_with(pool=lambda c, seen: seen.mean(dim=1)))),
    ("class token counts twice", encoder(block_with(pool=lambda c, seen: 2 * c + seen.mean(dim=1)))),
    ("residual along time is missing", encoder(block_with(residuals="mlp"))),
    ("residual of the MLP is missing", encoder(block_with(residuals="time"))),
    ("mean of the patches", encoder(set_aside_and(lambda c, x: c + x.mean(dim=1, keepdim=True)))),
    ("mean of the patches", encoder(set_aside_and(lambda c, x: x.mean(dim=1, keepdim=True)))),
    ("that is joint attention. A row is one frame", encoder(set_aside_and(joins=True))),
    ("class token of another video", encoder(class_token_of_all_frames)),
    ("you read the patches in place", encoder(set_aside, lambda tokens: tokens[:, 1:].mean(dim=1))),
    ("the mean of all tokens", encoder(block_by_loops, lambda tokens: tokens.mean(dim=1))),
    ("That is every token", encoder(block_by_loops, lambda tokens: tokens)),
    ("take the class token itself", encoder(block_by_loops, lambda tokens: tokens[:, :1])),
]


def interpolated(time, t, **how):
    return F.interpolate(time.T[None], size=t, **how)[0].T


TIME = [
    ("took the nearest learned row", lambda time, t: interpolated(time, t, mode="nearest")),
    ("align_corners=True", lambda time, t: interpolated(time, t, mode="linear", align_corners=True)),
    ("one after the other", lambda time, t: time[torch.arange(t).clamp(max=len(time) - 1)]),
    ("where a frame begins", lambda time, t: at(time, [k * len(time) / t for k in range(t)])),
    ("half a frame late", lambda time, t: at(time, [(k + 0.5) * len(time) / t for k in range(t)])),
    ("your first frame is number 1", lambda time, t: at(time, [(k + 1.5) * len(time) / t - 0.5 for k in range(t)])),
    ("over frames - 1 rows", lambda time, t: at(time, [(k + 0.5) * (len(time) - 1) / t - 0.5 for k in range(t)])),
    ("you wrote the number 8", lambda time, t: at(time, [(k + 0.5) * 8 / t - 0.5 for k in range(t)])),
    ("with the one before it", lambda time, t: mixed_with_the_row_before(time, t)),
    ("the last learned row is never reached", lambda time, t: held_too_early(time, t)),
    ("averaged over all rows", lambda time, t: F.adaptive_avg_pool1d(time.T[None], t)[0].T),
    ("One row for each", lambda time, t: time[:1].expand(t + 1, -1)),
    ("One axis too many", lambda time, t: time_by_interpolate(time, t)[None]),
    ("transposed", lambda time, t: time_by_interpolate(time, t).T),
]


def at(time, places):
    """The rows at these places, held inside."""
    s = torch.tensor(places).clamp(0, len(time) - 1)
    i = s.long().clamp(max=max(len(time) - 2, 0))
    return torch.lerp(time[i], time[(i + 1).clamp(max=len(time) - 1)], (s - i)[:, None])


def mixed_with_the_row_before(time, t):
    s = ((torch.arange(t) + 0.5) * len(time) / t - 0.5).clamp(0, len(time) - 1)
    i = s.long().clamp(max=max(len(time) - 2, 0))
    return torch.stack([(1 - r) * time[j] + r * time[max(j - 1, 0)] for j, r in zip(i.tolist(), s - i, strict=True)])


def held_too_early(time, t):
    return at(time, [min((k + 0.5) * len(time) / t - 0.5, max(len(time) - 2, 0)) for k in range(t)])


WRONG = {
    timesformer.there: THERE,
    timesformer.back: BACK,
    timesformer.check_block: BLOCK,
    timesformer.check_class_token: CLASS_TOKEN,
    timesformer.check_time_embedding: TIME,
}
