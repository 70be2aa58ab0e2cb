"""What the keypoint transformer trains: patches in; proposals matched to labels; and the input of the lifter."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.geometry.normalization import masked_mean
from jnrsfm.inputs import crops
from jnrsfm.inputs.category_samples import Samples as LifterSamples
from jnrsfm.losses import matched, matching_cost, pseudo_huber
from jnrsfm.methods.keypoint_transformer.settings import KeypointTransformer
from jnrsfm.methods.multicategory.network import Networks
from jnrsfm.methods.multicategory.objectives import Objectives, reprojection
from jnrsfm.models.functional import Network
from jnrsfm.models.vision import Proposals
from jnrsfm.training.problem import Mean


class Slots(NamedTuple):
    """Which keypoint is which type of its category: `columns (category, type)`: number of the keypoint (0 where there
    is none), `defined (category, type)` bool, and `swap (category, type)`: type of the left-right partner."""

    columns: np.ndarray
    defined: np.ndarray
    swap: np.ndarray

    @classmethod
    def of(cls, keypoints: np.ndarray, symmetric: Any) -> "Slots":
        """From `keypoints (category, point)` bool and pairs of points; a partner that the category lacks is none."""
        partner = crops.swap_of(keypoints.shape[1], symmetric)
        most = int(keypoints.sum(1).max())
        columns = np.zeros((len(keypoints), most), int)
        defined = np.zeros((len(keypoints), most), bool)
        swap = np.tile(np.arange(most), (len(keypoints), 1))
        for c, has in enumerate(keypoints):
            own = np.flatnonzero(has)
            columns[c, : len(own)], defined[c, : len(own)] = own, True
            place = {int(point): i for i, point in enumerate(own)}
            for i, point in enumerate(own):
                swap[c, i] = place.get(int(partner[point]), i)
        return cls(columns, defined, swap)

    def layout(self, n_points: int) -> np.ndarray:
        """`(category, type, point)`: 1 where a type of a category is a keypoint."""
        one = np.zeros((*self.columns.shape, n_points), np.float32)
        c, k = np.nonzero(self.defined)
        one[c, k, self.columns[c, k]] = 1
        return one


class Samples(NamedTuple):
    """What training sees of each image; leading axis image.

    `canvas (image, c, c, 3)` uint8; `points (image, type, 2)` labels in crop units, `labelled` and `heldout (image,
    type)` bool, of those that training may use and must not; `defined (image, type)` bool; `swap (image, type)`;
    `category (image,)`; `lifter`: the image's labels as the lifter was trained on them.
    """

    canvas: Any
    points: Any
    labelled: Any
    heldout: Any
    defined: Any
    swap: Any
    category: Any
    lifter: LifterSamples


def type_targets(match, defined, queries: int):
    """`(*batch, query)` type that each query answers for, the number of types where none."""
    count = defined.shape[-1]
    none = jnp.full((*match.shape[:-1], queries), count)
    wanted = jnp.where(defined, jnp.arange(count), count)
    place = lambda row, m, w: row.at[m].set(w)
    for _ in match.shape[:-1]:
        place = jax.vmap(place)
    return place(none, match, jnp.broadcast_to(wanted, match.shape))


def of_matched(values, match):
    """`(*batch, type, ...)` entries of the matched queries of `values (*batch, query, ...)`."""
    index = match.reshape(*match.shape, *[1] * (values.ndim - match.ndim))
    return jnp.take_along_axis(values, index, match.ndim - 1)


class LifterInput(NamedTuple):
    """What the lifter gets of a batch: `points (image, point, 2)` centred and of size 1, 0 where nothing is; `weights
    (image, point)`: probability that the object has the point; `unit (image,)` and `middle (image, 2)` in the units of
    the places; `context (image, number)` or None."""

    points: Any
    weights: Any
    unit: Any
    middle: Any
    context: Any


def lifter_input(place, category, context, layout) -> LifterInput:
    """Places `(image, type, 2)` and logits `category (image, category)` in the blocks of the lifter, softly: a point
    weighs as its category is likely. `layout (category, type, point)`: `Slots.layout`."""
    chance = jax.nn.softmax(category, -1)
    weights = jnp.einsum("bc,ckp->bp", chance, layout)
    xy = jnp.einsum("bc,ckp,bkd->bpd", chance, layout, place) / jnp.maximum(weights, 1e-6)[..., None]
    middle = masked_mean(xy, weights)
    gap = xy - middle
    total = jnp.maximum(weights.sum(-1), 1e-6)
    unit = jnp.sqrt(jnp.sum(weights * jnp.sum(gap**2, -1), -1) / total + 1e-8)
    points = jnp.where(weights[..., None] > 1e-4, gap / unit[:, None, None], 0.0)
    return LifterInput(points, weights, unit, middle[..., 0, :], context)


def patch_rotation(maps, rotation, mirror):
    """`(image, 3, 3)` rotations in augmented patches of objects with `rotation` in the photographs: turned with the
    patch; where it is flipped, the image of the object's reflection `mirror`, which exchanges left and right."""
    plane = maps.matrix / maps.scale[:, None, None]
    turn = jnp.zeros((len(plane), 3, 3)).at[:, :2, :2].set(plane).at[:, 2, 2].set(1.0)
    return turn @ rotation @ jnp.where(maps.flipped[:, None, None], mirror, jnp.eye(3))


class Objective:
    """Objective and criteria of the two phases: `find` (the transformer alone) and `together`."""

    def __init__(
        self,
        detector: Network,
        lifter: Networks,
        config: KeypointTransformer,
        layout: np.ndarray,
        objectives: Objectives,
        flips: bool,
        mirrors: np.ndarray,
    ):
        self.detector, self.lifter, self.config = detector, lifter, config
        self.layout, self.objectives, self.mirrors = layout, objectives, mirrors
        how = config.augmentation
        self.how = how if flips else crops.Augmentation(**{**how.__dict__, "flip": 0.0})

    # the transformer

    def find(self, params, model_state, batch: Samples, key, hyper):
        """Loss of category and keypoints."""
        proposals, target, _ = self.proposals(params["detector"], batch, key)
        loss, metrics, _ = self.detection(proposals, target, batch.category, hyper)
        return loss, (metrics, model_state)

    def proposals(self, params, batch: Samples, key):
        """`(Proposals, (points, labelled, defined), maps)` of augmented patches, labels in patch units."""
        keys = jax.random.split(key)
        maps = crops.drawn_maps(keys[0], len(batch.points), self.how)
        images = crops.patches(batch.canvas, maps, self.config.size)
        found = self.detector.module(params, {})(crops.coloured(keys[1], images, self.how))
        points = maps.to_patch(batch.points, jnp.arange(batch.points.shape[1]))
        flip = maps.flipped[:, None]
        points = jnp.where(flip[..., None], jnp.take_along_axis(points, batch.swap[..., None], 1), points)
        labelled = jnp.where(flip, jnp.take_along_axis(batch.labelled, batch.swap, 1), batch.labelled)
        labelled = labelled & (jnp.abs(points) < 0.6).all(-1)
        return found, (points, labelled, batch.defined), maps

    def match(self, proposals: Proposals, points, labelled, defined, hyper):
        """`(layer, image, type)` queries; fixed at the beginning."""
        c = self.config
        cost = matching_cost(
            proposals.place, proposals.types, points, labelled, defined, c.place_weight, c.matching
        )
        best = matched(cost)
        return jnp.where(hyper["progress"] < hyper["fixed"], jnp.arange(points.shape[-2]), best)

    def detection(self, proposals: Proposals, target, category, hyper):
        """`(loss, metrics, match)`: the mean over the layers of the losses of places, types and category."""
        c = self.config
        points, labelled, defined = target
        match = self.match(proposals, points, labelled, defined, hyper)
        there = labelled.astype(jnp.float32)
        total = jnp.maximum(there.sum(), 1e-6)
        layers = match.shape[0]
        gap = jnp.abs(of_matched(proposals.place, match) - points).sum(-1)
        place = jnp.sum(there * gap) / (layers * total)
        loss = c.place_weight * place
        if c.place == "heatmap" and c.map_weight:
            # the queries' maps, and those of the keypoints
            loss = loss + c.map_weight * self._maps(of_matched(proposals.look, match), points, there, total)
            known = proposals.known[0][jnp.arange(len(category)), category]  # of all layers the same
            loss = loss + c.map_weight * self._maps(known[None], points, there, total)
        wanted = type_targets(match, defined, proposals.types.shape[-2])
        # a keypoint that nobody labelled is there all the same, less surely matched
        sure = jnp.where(labelled, 1.0, 0.3)
        weight = jnp.full(wanted.shape, c.none_weight)
        set_ = lambda row, m, w, d: row.at[m].set(jnp.where(d, w, c.none_weight))
        weight = jax.vmap(jax.vmap(set_), (0, 0, None, None))(weight, match, sure, defined)
        entropy = -jnp.take_along_axis(jax.nn.log_softmax(proposals.types, -1), wanted[..., None], -1)[..., 0]
        types = jnp.sum(weight * entropy) / jnp.sum(weight)
        names = jax.nn.log_softmax(proposals.category, -1)
        kind = -jnp.mean(
            jnp.take_along_axis(names, jnp.broadcast_to(category[:, None], (*names.shape[:2], 1)), -1)
        )
        # from features behind a stopped gradient: how sure a place is, and whether the point is seen
        spread = of_matched(proposals.spread, match)
        still = jax.lax.stop_gradient(jnp.abs(of_matched(proposals.place, match) - points))
        sure_loss = jnp.sum(there * (still / spread + jnp.log(spread)).sum(-1)) / (layers * total)
        seen = of_matched(proposals.seen, match)
        given = defined.astype(jnp.float32)
        seen_loss = jnp.sum(given * jnp.logaddexp(0.0, jnp.where(labelled, -seen, seen))) / (
            layers * jnp.maximum(given.sum(), 1e-6)
        )
        loss = loss + types + kind + 0.01 * sure_loss + 0.1 * seen_loss
        metrics = {
            "labels": Mean(jnp.sum(there * gap[-1]), there.sum()), "types": types, "category": kind,
        }  # fmt: skip
        return loss, metrics, match

    def _maps(self, logits, points, there, total):
        """Cross-entropy of maps `logits (layer, image, type, y, x)` with a bump of one cell at the label."""
        side = logits.shape[-1]
        at = (jnp.arange(side) + 0.5) / side - 0.5
        bump = -0.5 * ((points[..., None] - at) * side / 0.8) ** 2  # image, type, 2, cell
        bump = bump[..., 1, :, None] + bump[..., 0, None, :]
        flat = lambda x: x.reshape(*x.shape[:-2], -1)
        entropy = -jnp.sum(jax.nn.softmax(flat(bump), -1) * jax.nn.log_softmax(flat(logits), -1), -1)
        return jnp.sum(there * entropy) / (len(logits) * total)

    # transformer and lifter

    def together(self, params, model_state, batch: Samples, key, hyper):
        """The losses of the keypoints, and those of the lifter on what was found."""
        keys = jax.random.split(key, 3)
        proposals, target, maps = self.proposals(params["detector"], batch, keys[0])
        loss, metrics, match = self.detection(proposals, target, batch.category, hyper)
        last = jax.tree.map(lambda x: x[-1], proposals)
        context = last.context if self.config.context else None
        given = lifter_input(of_matched(last.place, match[-1]), last.category, context, self.layout)
        if self.config.lifter == "procrustean":
            cost, more = self._turns(params["nets"], model_state, given, batch, maps, keys[1], hyper)
        else:
            cost, more = self._cycle(params["nets"], model_state, given, target, batch, keys[1])
        return loss + self.config.lift_weight * cost, (metrics | more, model_state)

    def _lift(self, nets, state, points, weights, context):
        return self.lifter.lift(nets, state, points, weights, "frozen", context)[0]

    def _turns(self, nets, state, given: LifterInput, batch: Samples, maps, key, hyper):
        """The rotation of what was found against that of the labels' fit, turned and flipped as the patch is; and the
        lifter's own loss on synthetic views, without context."""
        out = self._lift(nets, state, given.points, given.weights, given.context)
        mirror = jnp.asarray(self.mirrors, jnp.float32)[batch.category]
        wanted = patch_rotation(maps, batch.lifter.rotation, mirror)
        square = jnp.sum((out.rotation - wanted) ** 2, (-2, -1))
        # fewer than four labels fix no rotation
        sure = (batch.labelled.sum(-1) >= 4).astype(jnp.float32)
        cost = jnp.sum(sure * jnp.sqrt(square + 1e-4)) / jnp.maximum(sure.sum(), 1e-6)
        other, _ = self.objectives.synthetic_view_loss(nets, state, batch.lifter, key, hyper)
        return cost + other, {"camera": cost}

    def _cycle(self, nets, state, given: LifterInput, target, batch: Samples, key):
        """Reprojection, camera and shape losses of section 4.2: the camera is asked for without the context, which
        knows the image's own."""
        points, labelled, _ = target
        there = jnp.asarray(self.layout)[batch.category]  # image, type, point
        xy = jnp.einsum("bkp,bkd->bpd", there, points)
        weights = jnp.einsum("bkp,bk->bp", there, labelled.astype(jnp.float32))
        own = there.sum(1)
        unit = jax.lax.stop_gradient(given.unit)[:, None, None]
        out = self._lift(nets, state, given.points, given.weights, given.context)
        shape = out.shape * own[..., None]
        huber = lambda square, w: (
            jnp.sum(w * pseudo_huber(square, scale=0.01)) / jnp.maximum(jnp.sum(w), 1e-6)
        )
        gap = reprojection(shape, out.rotation, xy / unit, weights)
        projected = huber(jnp.sum(gap**2, -1), weights)
        turn = self.objectives.cycle_cameras(key, batch.category, out.rotation)
        image = jnp.einsum("bpj,bij->bpi", shape, turn[:, :2])
        image = jnp.where(own[..., None] > 0, image - masked_mean(image, own), 0.0)
        blind = self._lift(nets, state, image, own, None)
        again = self._lift(nets, state, image, own, given.context)
        camera = jnp.mean(pseudo_huber(jnp.sum((blind.rotation - turn) ** 2, (-2, -1)), scale=0.01))
        same = huber(jnp.sum((again.shape - shape) ** 2, -1), own)
        cost = projected + self.config.lifter_config().cycle_weight * (camera + same)
        return 10 * cost, {"reprojection": projected, "camera": camera, "shape": same}

    def criteria(self, params, model_state, batch: Samples, hyper):
        """Distances of labels and of held-out labels in crop units, without augmentation."""
        maps = crops.unmoved((len(batch.points),))
        images = crops.patches(batch.canvas, maps, self.config.size)
        found = jax.tree.map(lambda x: x[-1], self.detector.module(params["detector"], {})(images))
        place = placed(chosen(found, batch.defined.shape[-1]), batch.defined).place
        distance = jnp.sqrt(jnp.sum((place - batch.points) ** 2, -1) + 1e-12)
        return {
            "objective": (jnp.sum(batch.labelled * distance, -1), batch.labelled.sum(-1).astype(jnp.float32)),
            "heldout": (jnp.sum(batch.heldout * distance, -1), batch.heldout.sum(-1).astype(jnp.float32)),
        }


class Chosen(NamedTuple):
    """What is chosen for every type of an image; leading axes (image, type).

    `place (..., 2)` and its Laplace `spread (..., 2)`; `sure`: probability of the type; `seen`: of being visible; `map
    (..., y, x)`: probability of each cell, or None."""

    place: Any
    spread: Any
    sure: Any
    seen: Any
    map: Any = None


def chosen(found: Proposals, types: int) -> Chosen:
    """For every type, what the query that most likely is it proposes."""
    chance = jax.nn.softmax(found.types, -1)[..., :types]
    best = jnp.argmax(chance, -2)  # image, type
    sure = jnp.take_along_axis(chance, best[..., None, :], -2)[..., 0, :]
    seen = jax.nn.sigmoid(of_matched(found.seen, best))
    where = None
    if found.look is not None:
        look = of_matched(found.look, best)
        where = jax.nn.softmax(look.reshape(*look.shape[:-2], -1), -1).reshape(look.shape)
    return Chosen(of_matched(found.place, best), of_matched(found.spread, best), sure, seen, where)


def with_reflected(own: Chosen, other: Chosen, swap) -> Chosen:
    """The mean of what was chosen in a patch and in its mirror image, in which every type is its partner `swap (image,
    type)`; of maps the geometric mean."""
    turn: Any = lambda x: jnp.take_along_axis(x, swap.reshape(*swap.shape, *[1] * (x.ndim - 2)), 1)
    place, spread, sure, seen = map(turn, other[:4])
    mean = lambda a, b: (a + b) / 2
    where = None
    if own.map is not None:
        both = jnp.sqrt(own.map * turn(other.map)[..., ::-1] + 1e-12)
        where = both / both.sum((-2, -1), keepdims=True)
    return Chosen(
        mean(own.place, place * jnp.array([-1.0, 1.0])), mean(own.spread, spread), mean(own.sure, sure),
        mean(own.seen, seen), where,
    )  # fmt: skip


def peak(where: Any, reach: int = 2):
    """`(..., 2)` mean of maps `where (..., y, x)` over the cells at most `reach` from the likeliest: of two places that
    are both likely one, not the middle between them."""
    side = where.shape[-1]
    best = jnp.argmax(where.reshape(*where.shape[:-2], -1), -1)
    cell = jnp.arange(side)
    near = lambda at: jnp.abs(cell - at[..., None]) <= reach
    part = where * near(best // side)[..., :, None] * near(best % side)[..., None, :]
    part = part / jnp.maximum(part.sum((-2, -1), keepdims=True), 1e-12)
    at = (cell + 0.5) / side - 0.5
    return jnp.stack([part.sum(-2) @ at, part.sum(-1) @ at], -1)


def placed(found: Chosen, defined) -> Chosen:
    """With the peaks of the maps as places; entries of types that are not `defined (image, type)` are 0."""
    place = found.place if found.map is None else peak(found.map)
    clear = lambda x: jnp.where(defined.reshape(*defined.shape, *[1] * (x.ndim - 2)), x, 0.0)
    return Chosen(clear(place), clear(found.spread), clear(found.sure), clear(found.seen))
