"""Answers to the exercise of notebook 1 about a batch in pieces, as a reader would write them.

RIGHT holds pairs of a checker and an answer, in several styles. WRONG maps the checker to pairs of a phrase that its
diagnosis must hold, and the answer.
"""

import torch

from mmlib.exercises import clip
from mmlib.scale.cached import backward_in_pieces


def pieces_of(image, text, piece):
    return list(zip(image.split(piece), text.split(piece), strict=True))


def embed_all(encode, weight, image, text, piece):
    with torch.no_grad():
        emb = [encode(i, t, weight) for i, t in pieces_of(image, text, piece)]
    return [torch.cat(side).requires_grad_() for side in zip(*emb, strict=True)]


# ---- right answers


def by_backward(encode, loss_of, weight, image, text, piece):
    image_emb, text_emb = embed_all(encode, weight, image, text, piece)
    loss_of(image_emb, text_emb).backward()
    weight.requires_grad_()
    asked = pieces_of(image_emb.grad, text_emb.grad, piece)
    for (i, t), grads in zip(pieces_of(image, text, piece), asked, strict=True):
        torch.autograd.backward(encode(i, t, weight), grads)
    return weight.grad


def one_piece_alive(encode, loss_of, weight, image, text, piece):
    """The loss of the whole batch once a piece, with the graph of this piece only: slower, and as right."""
    image_emb, text_emb = (side.detach() for side in embed_all(encode, weight, image, text, piece))
    weight.requires_grad_()
    for start in range(0, len(image), piece):
        end = start + piece
        i, t = encode(image[start:end], text[start:end], weight)
        images = torch.cat([image_emb[:start], i, image_emb[end:]])
        texts = torch.cat([text_emb[:start], t, text_emb[end:]])
        loss_of(images, texts).backward()
    return weight.grad


def by_products(encode, loss_of, weight, image, text, piece):
    """What the loss asks, times the embeddings, has the right gradient too."""
    image_emb, text_emb = embed_all(encode, weight, image, text, piece)
    grads = torch.autograd.grad(loss_of(image_emb, text_emb), (image_emb, text_emb))
    weight, total = weight.clone().requires_grad_(), torch.zeros_like(weight)
    asked = pieces_of(*grads, piece)
    for (i, t), (di, dt) in zip(pieces_of(image, text, piece), asked, strict=True):
        u, v = encode(i, t, weight)
        total += torch.autograd.grad((u * di).sum() + (v * dt).sum(), weight)[0]
    return total


def by_the_package(encode, loss_of, weight, image, text, piece):
    weight.requires_grad_()
    backward_in_pieces(lambda i, t: encode(i, t, weight), loss_of, [image, text], piece)
    return weight.grad


RIGHT = [(clip.check_pieces, answer) for answer in (by_backward, one_piece_alive, by_products, by_the_package)]

# ---- wrong answers


def all_at_once(encode, loss_of, weight, image, text, piece):
    weight.requires_grad_()
    loss_of(*encode(image, text, weight)).backward()
    return weight.grad


def all_graphs_kept(encode, loss_of, weight, image, text, piece):
    weight.requires_grad_()
    emb = [encode(i, t, weight) for i, t in pieces_of(image, text, piece)]
    loss_of(*map(torch.cat, zip(*emb, strict=True))).backward()
    return weight.grad


def plain(weigh):
    def gradient(encode, loss_of, weight, image, text, piece):
        weight.requires_grad_()
        for i, t in pieces_of(image, text, piece):
            (loss_of(*encode(i, t, weight)) * weigh(len(i), len(image), piece)).backward()
        return weight.grad

    return gradient


def cached(hand=lambda i, t: (i, t), reset=False, early=False, pieces=pieces_of, finish=lambda grad, count: grad):
    """The right way with one thing changed."""

    def gradient(encode, loss_of, weight, image, text, piece):
        image_emb, text_emb = embed_all(encode, weight, image, text, piece)
        asked = hand(*torch.autograd.grad(loss_of(image_emb, text_emb), (image_emb, text_emb)))
        weight.requires_grad_()
        few = pieces(image, text, piece)
        for (i, t), grads in zip(few, pieces(*asked, piece), strict=True):
            weight.grad = None if reset else weight.grad
            torch.autograd.backward(encode(i, t, weight), grads)
            if early:
                break
        return finish(weight.grad, len(few))

    return gradient


def full_pieces(image, text, piece):
    return [(image[n : n + piece], text[n : n + piece]) for n in range(0, len(image) - piece + 1, piece)]


def never_asked(encode, loss_of, weight, image, text, piece):
    weight.requires_grad_()
    loss_of(*embed_all(encode, weight, image, text, piece)).backward()
    return weight.grad


WRONG = {
    clip.check_pieces: [
        ("room for the graph of 3 pairs, needed 6", all_at_once),
        ("room for the graph of 3 pairs, needed 6", all_graphs_kept),
        ("this is plain accumulation", plain(lambda few, b, piece: few / b)),
        ("the losses are added up with no mean", plain(lambda few, b, piece: 1.0)),
        ("this is plain accumulation", plain(lambda few, b, piece: 1 / -(-b // piece))),
        ("divided by the number of pieces", cached(finish=lambda grad, count: grad / count)),
        ("only the last piece", cached(reset=True)),
        ("only the first piece", cached(early=True)),
        ("the last piece, which is smaller, is missing", cached(pieces=full_pieces)),
        ("through the texts is missing", cached(hand=lambda i, t: (i, torch.zeros_like(t)))),
        ("through the pictures is missing", cached(hand=lambda i, t: (torch.zeros_like(i), t))),
        ("what the loss asks of the texts", cached(hand=lambda i, t: (t, i))),
        ("wrong sign", cached(finish=lambda grad, count: -grad)),
        ("Return the gradient of the weight", lambda e, loss, w, i, t, p: loss(*embed_all(e, w, i, t, p))),
        ("gives the weight back", lambda e, loss, w, i, t, p: w),
        ("returned None", never_asked),
    ],
}
