"""The exercises of notebook 3: which they are, and answers as readers would write them."""

import torch
import torch.nn.functional as F

from mmlib.exercises import retrieval

NOTEBOOK, EXERCISES = "03_retrieval", retrieval
CHECKS = [
    retrieval.check_triplet_loss,
    retrieval.check_semi_hard,
    retrieval.check_recall,
    retrieval.check_reciprocal_rank_fusion,
]
AMBIGUOUS: list[str] = []

# ---- right answers


def triplet_by_loops(image_emb, text_emb, margin):
    b, loss = len(image_emb), 0.0
    for i in range(b):
        right = image_emb[i] @ text_emb[i]
        texts = [margin - right + image_emb[i] @ text_emb[j] for j in range(b) if j != i]
        pictures = [margin - right + image_emb[j] @ text_emb[i] for j in range(b) if j != i]
        loss = loss + torch.stack(texts).max().clamp(min=0) + torch.stack(pictures).max().clamp(min=0)
    return loss / b


def triplet_by_hinges(image_emb, text_emb, margin):
    sim = image_emb @ text_emb.T
    wrong = 1 - torch.eye(len(sim))
    to_text = F.relu(margin - sim.diag()[:, None] + sim) * wrong
    to_image = F.relu(margin - sim.diag()[None] + sim) * wrong
    return to_text.max(1).values.mean() + to_image.max(0).values.mean()


def triplet_of_distances(image_emb, text_emb, margin):
    """Half the squared distance of unit vectors is one minus their inner product."""
    far = torch.cdist(image_emb.double(), text_emb.double()).square() / 2
    near = far.diagonal()
    far = far + 10 * torch.eye(len(far))
    return (F.relu(margin + near - far.amin(1)) + F.relu(margin + near - far.amin(0))).mean()


def semi_hard_by_loops(sim, same, margin):
    mask = torch.zeros_like(same)
    for i, row in enumerate(sim):
        for j, s in enumerate(row):
            mask[i, j] = bool(not same[i, j] and 0 < row[i] - s < margin)
    return mask


def semi_hard_by_lead(sim, same, margin):
    lead = sim.diag().unsqueeze(1) - sim
    return torch.logical_and((lead > 0) & (lead < margin), same.logical_not())


def recall_by_loops(sim, right, k):
    hits = 0
    for scores, answers in zip(sim.tolist(), right.tolist(), strict=True):
        best = max(score for score, answer in zip(scores, answers, strict=True) if answer)
        wrong = [score for score, answer in zip(scores, answers, strict=True) if not answer]
        hits += 1 + sum(s > best for s in wrong) + sum(s == best for s in wrong) / 2 <= k
    return hits / len(sim)


def recall_by_sort(sim, right, k):
    """Sort with the right answers last in a tie, and once more with them first: the mean of the two ranks."""
    ranks = []
    for nudge in (-1e-6, 1e-6):
        order = (sim + nudge * right).argsort(dim=1, descending=True)
        found = right.gather(1, order)
        first = found.int().argmax(dim=1, keepdim=True)
        ranks.append(1 + (~found).cumsum(dim=1).gather(1, first).squeeze(1))
    return (torch.stack(ranks).float().mean(0) <= k).double().mean()


def fusion_by_loops(sim_a, sim_b, k):
    fused = torch.zeros_like(sim_a)
    for sim in (sim_a, sim_b):
        for scores, row in zip(fused, sim, strict=True):
            for place, item in enumerate(row.argsort(descending=True)):
                scores[item] += 1 / (k + place + 1)
    return fused


def fusion_by_counting(sim_a, sim_b, k):
    def share(sim):
        return 1 / (k + 1.0 + (sim[:, None] > sim[:, :, None]).sum(dim=2))

    return torch.stack([share(sim_a), share(sim_b)]).sum(dim=0)


RIGHT = [
    *[(retrieval.check_triplet_loss, answer) for answer in (triplet_by_loops, triplet_by_hinges, triplet_of_distances)],
    *[(retrieval.check_semi_hard, answer) for answer in (semi_hard_by_loops, semi_hard_by_lead)],
    *[(retrieval.check_recall, answer) for answer in (recall_by_loops, recall_by_sort)],
    *[(retrieval.check_reciprocal_rank_fusion, answer) for answer in (fusion_by_loops, fusion_by_counting)],
]

# ---- wrong answers


def diagonal(sim):
    return torch.eye(len(sim), dtype=torch.bool)


def hinges(sim, margin):
    """The two tables of hinges, with 0 on the diagonal."""
    wrong = ~diagonal(sim)
    to_text = F.relu(margin - sim.diag()[:, None] + sim) * wrong
    return to_text, F.relu(margin - sim.diag()[None] + sim) * wrong


def hardest(sim):
    return sim.masked_fill(diagonal(sim), -torch.inf)


def of_gaps(close):
    """The loss of the reader who has the two hardest gaps right, and closes in a way of their own."""

    def loss(i, t, margin):
        sim = i @ t.T
        hard, right = hardest(sim), sim.diag()
        return close(margin - right + hard.amax(1), margin - right + hard.amax(0))

    return loss


def right_one_in(i, t, margin):
    sim = i @ t.T
    right = sim.diag()
    return (F.relu(margin - right + sim.amax(1)) + F.relu(margin - right + sim.amax(0))).mean()


def with_negatives(pick):
    def loss(i, t, margin):
        return sum(F.relu(margin - (x * y).sum(1) + pick(x, y)).mean() for x, y in ((i, t), (t, i)))

    return loss


def signs(close):
    def loss(i, t, margin):
        sim = i @ t.T
        wrong, right = ~diagonal(sim), sim.diag()
        to_text = F.relu(close(right[:, None], sim, margin)) * wrong
        return (to_text.amax(1) + (F.relu(close(right[None], sim, margin)) * wrong).amax(0)).mean()

    return loss


def forgotten_axis(i, t, margin):
    sim = i @ t.T
    cost = F.relu(margin - sim.diag() + sim).masked_fill(diagonal(sim), 0)
    return (cost.amax(1) + cost.amax(0)).mean()


def by_distance(power):
    def loss(i, t, margin):
        far = torch.cdist(i, t) ** power
        near, wrong = far.diag(), far.masked_fill(diagonal(far), torch.inf)
        return (F.relu(margin + near - wrong.amin(1)) + F.relu(margin + near - wrong.amin(0))).mean()

    return loss


def without_graph(i, t, margin):
    with torch.no_grad():
        return triplet_by_hinges(i, t, margin)


def of_table(reduce):
    return lambda i, t, margin: reduce(*hinges(i @ t.T, margin))


def infinite_eye(i, t, margin):
    sim = i @ t.T
    sim = sim - torch.eye(len(sim)) * torch.inf
    return F.relu(margin - (i * t).sum(1) + sim.amax(1)).mean()


TRIPLET = [
    ("right answer is among your negatives", right_one_in),
    ("swapped signs", signs(lambda right, wrong, margin: margin + right - wrong)),
    ("margin is missing", signs(lambda right, wrong, margin: wrong - right)),
    ("margin is missing", signs(lambda right, wrong, margin: wrong - right - margin)),
    ("Cut each pair", of_gaps(lambda to_text, to_image: (to_text + to_image).mean())),
    ("before the mean", of_gaps(lambda to_text, to_image: (to_text + to_image).mean().relu())),
    ("softplus never", of_gaps(lambda to_text, to_image: (F.softplus(to_text) + F.softplus(to_image)).mean())),
    ("squared the hinge", of_gaps(lambda to_text, to_image: (to_text.relu() ** 2 + to_image.relu() ** 2).mean())),
    ("each row must be compared", forgotten_axis),
    ("summed over all the wrong", of_table(lambda to_text, to_image: (to_text.sum(1) + to_image.sum(0)).mean())),
    ("neighbour in the batch", with_negatives(lambda x, y: (x * y.roll(1, dims=0)).sum(1))),
    ("easiest", with_negatives(lambda x, y: (x @ y.T).masked_fill(diagonal(x), torch.inf).amin(1))),
    ("from text to picture is missing", of_table(lambda to_text, to_image: to_text.amax(1).mean())),
    ("from picture to text is missing", of_table(lambda to_text, to_image: to_image.amax(0).mean())),
    ("half of the two directions", lambda *case: triplet_by_hinges(*case) / 2),
    ("summed over the batch", lambda i, t, margin: triplet_by_hinges(i, t, margin) * len(i)),
    ("maximum for the whole table", of_table(lambda to_text, to_image: to_text.max() + to_image.max())),
    ("in a way that I do not know", of_gaps(lambda x, y: torch.maximum(x, y).relu().mean())),
    ("wrong sign", lambda *case: -triplet_by_hinges(*case)),
    ("compared distances", by_distance(1)),
    ("compared distances", by_distance(2)),
    (
        "mean over all the wrong answers",
        of_table(lambda to_text, to_image: (to_text + to_image).sum(1).mean() / (len(to_text) - 1)),
    ),
    ("One loss for each pair", of_table(lambda to_text, to_image: to_text.amax(1) + to_image.amax(0))),
    ("That is the whole table", of_table(torch.add)),
    ("the loss is nan", infinite_eye),
    ("is detached", without_graph),
    ("no gradient reaches t:", lambda i, t, margin: triplet_by_hinges(i, t.detach(), margin)),
    ("plain Python float", lambda *case: triplet_by_hinges(*case).item()),
]


def lead(sim):
    return sim.diag()[:, None] - sim


def chained(sim, same, margin):
    return sim.diag()[:, None] - margin < sim < sim.diag()[:, None]


SEMI_HARD = [
    ("`same` has no effect", lambda sim, same, margin: (lead(sim) > 0) & (lead(sim) < margin)),
    ("`same` has no effect", lambda s, same, margin: (lead(s) > 0) & (lead(s) < margin) & ~diagonal(s)),
    ("kept the right answers", lambda sim, same, margin: (lead(sim) > 0) & (lead(sim) < margin) & same),
    ("the hard ones are in too", lambda sim, same, margin: (lead(sim) < margin) & ~same),
    ("on both sides", lambda sim, same, margin: (lead(sim).abs() < margin) & ~same),
    ("more similar than the right one", lambda sim, same, margin: (lead(sim) < 0) & (lead(sim) < margin) & ~same),
    ("exactly as similar", lambda sim, same, margin: (lead(sim) >= 0) & (lead(sim) < margin) & ~same),
    ("easy ones are in too", lambda sim, same, margin: (lead(sim) > 0) & ~same),
    ("kept the easy ones", lambda sim, same, margin: (lead(sim) > margin) & ~same),
    ("nothing can be both", lambda sim, same, margin: (lead(sim) > 0) & (-lead(sim) > margin) & ~same),
    ("with the margin alone", lambda sim, same, margin: (lead(sim) > 0) & (sim > margin) & ~same),
    ("columns", lambda sim, same, margin: (sim < sim.diag()) & (sim > sim.diag() - margin) & ~same),
    ("transposed", lambda sim, same, margin: semi_hard_by_loops(sim, same, margin).T),
    ("& in place of |", lambda sim, same, margin: ((lead(sim) > 0) | (lead(sim) < margin)) & ~same),
    ("cut a < b < c", chained),
    ("brackets around each comparison", lambda sim, same, margin: sim < sim.diag()[:, None] & ~same),
    ("Those are the similarities", lambda sim, same, margin: sim[semi_hard_by_loops(sim, same, margin)]),
    ("no nonzero", lambda sim, same, margin: semi_hard_by_loops(sim, same, margin).nonzero()),
    ("returned numbers", lambda sim, same, margin: sim * semi_hard_by_loops(sim, same, margin)),
    ("returned numbers", lambda sim, same, margin: semi_hard_by_loops(sim, same, margin).float()),
]


def rank_of_best(sim, right, half=0.5, rivals=None):
    best = sim.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    rivals = ~right if rivals is None else rivals
    return 1 + ((sim > best) & ~right).sum(1) + half * ((sim == best) & rivals).sum(1)


def top(sim, right, k):
    return right.gather(1, sim.topk(k, dim=1).indices)


def sorted_right(sim, right):
    return right.gather(1, sim.sort(dim=1, descending=True, stable=True).indices)


def share(hits):
    return hits.float().mean()


RECALL = [
    ("order of the table", lambda sim, right, k: share(top(sim, right, k).any(1))),
    ("order of the table", lambda sim, right, k: share(sorted_right(sim, right)[:, :k].any(1))),
    ("best place", lambda sim, right, k: share(rank_of_best(sim, right, half=0.0) <= k)),
    ("worst place", lambda sim, right, k: share(rank_of_best(sim, right, half=1.0) <= k)),
    ("They are no rivals", lambda sim, right, k: share(rank_of_best(sim, right, rivals=right | True) <= k)),
    ("off by one: a rank of exactly k", lambda sim, right, k: share(rank_of_best(sim, right) < k)),
    ("ranks begin at 1", lambda sim, right, k: share(rank_of_best(sim, right) - 1 <= k)),
    ("least similar first", lambda sim, right, k: share(rank_of_best(-sim, right) <= k)),
    ("number of queries", lambda sim, right, k: (rank_of_best(sim, right) <= k).sum().float()),
    ("and a share lies between 0 and 1", lambda sim, right, k: (rank_of_best(sim, right) <= k).sum()),
    ("share of failures", lambda sim, right, k: share(rank_of_best(sim, right) > k)),
    ("Is one of them right?", lambda sim, right, k: sim.topk(k, dim=1).indices.float()),
    ("Is that each query by itself?", lambda sim, right, k: rank_of_best(sim, right) <= k),
    (".float()", lambda sim, right, k: (rank_of_best(sim, right) <= k).mean()),
    ("precision", lambda sim, right, k: top(sim, right, k).float().mean()),
    ("share of the right answers", lambda sim, right, k: (top(sim, right, k).sum(1) / right.sum(1)).mean()),
    ("only the first place", lambda sim, right, k: share(rank_of_best(sim, right) <= 1)),
]


def rank(sim):
    return sim.argsort(dim=1, descending=True).argsort(dim=1) + 1


def fuse(share):
    return lambda a, b, k: share(a, k) + share(b, k)


FUSION = [
    ("argsort().argsort()", fuse(lambda sim, k: 1 / (k + 1 + sim.argsort(dim=1, descending=True)))),
    ("goes to the least similar item. Larger", fuse(lambda sim, k: 1 / (k + 1 + sim.argsort(1).argsort(1)))),
    ("then argsort once more", fuse(lambda sim, k: 1 / (k + 1 + sim.argsort(1)))),
    ("begin at 0", fuse(lambda sim, k: 1 / (k + rank(sim) - 1))),
    ("ranked the queries", fuse(lambda sim, k: 1 / (k + 1 + sim.argsort(0, descending=True).argsort(0)))),
    ("similarities themselves", fuse(lambda sim, k: 1 / (k + sim))),
    ("k has no effect", fuse(lambda sim, k: 1 / rank(sim))),
    ("number 60", fuse(lambda sim, k: 1 / (60 + rank(sim)))),
    ("under the 1", fuse(lambda sim, k: 1 / k + rank(sim))),
    ("under the 1", fuse(lambda sim, k: k + rank(sim))),
    ("before the 1 over, and k once", lambda a, b, k: 1 / (k + rank(a) + rank(b))),
    ("half of the sum", lambda a, b, k: fusion_by_loops(a, b, k) / 2),
    ("multiplied the two", lambda a, b, k: 1 / (k + rank(a)) * 1 / (k + rank(b))),
    ("better of the two", lambda a, b, k: 1 / (k + torch.minimum(rank(a), rank(b)))),
    ("second search has no effect", lambda a, b, k: 1 / (k + rank(a))),
    ("side by side", lambda a, b, k: torch.cat([1 / (k + rank(a)), 1 / (k + rank(b))], dim=1)),
    ("still apart", lambda a, b, k: torch.stack([1 / (k + rank(a)), 1 / (k + rank(b))])),
    ("changes its argument a in place", lambda a, b, k: a.copy_(1 / (k + rank(a))) + 1 / (k + rank(b))),
]
WRONG = {
    retrieval.check_triplet_loss: TRIPLET,
    retrieval.check_semi_hard: SEMI_HARD,
    retrieval.check_recall: RECALL,
    retrieval.check_reciprocal_rank_fusion: FUSION,
}
