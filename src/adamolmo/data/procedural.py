"""Three procedural question-answering datasets, in the schema and spirit of text_vqa, okvqa and coco_2014_vqa.

A scene is a noisy canvas of one of four sizes, so that one vision tier costs a different number of crops for every
image, as in real datasets. The three datasets differ in what is drawn and asked:

* text_vqa: one to three coloured signs carry a number of one to three digits. Asked: the number, its first or last
  digit, the sum of its digits. Digits are 8 to 48 px high, and on the largest canvas every vision tier resolves two
  more of the six heights.
* okvqa: objects, each a shape in a colour. Asked: facts that the picture does not show. A fixed random knowledge base
  gives every (shape, colour) a value for each of `RELATIONS` and a friend, so questions need one fact
  ("what is the food of the star ?") or two ("what is the food of the friend of the star ?").
* coco_2014_vqa: three to eight objects. Asked: existence, counts, colours, neighbours, mixed as in VQA v2.

Things stand on a grid that is as coarse as they are large, as print does on a page: a vision tower of this size, which
has no convolutions, learns to read aligned things in minutes and free ones in days. The grid is that of the image
tokens in the coarsest view that shows the thing: the model reads it there, whatever finer crops show.

Everything is a function of (dataset, split, index): splits are disjoint streams of scenes, not slices of one file.
"""

import hashlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LARGEST_CANVAS_PX = (192, 192)
CANVASES_PX = (LARGEST_CANVAS_PX, (192, 96), (96, 192), (96, 96))  # (width, height)
COLOURS = {
    "red": (235, 50, 45),
    "orange": (250, 145, 30),
    "yellow": (245, 230, 50),
    "green": (50, 200, 80),
    "blue": (60, 110, 255),
    "purple": (165, 70, 225),
    "white": (245, 245, 245),
    "pink": (255, 160, 205),
}
_INK = (15, 15, 15)
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "moon")
RELATIONS = {
    "food": "rice bread apple cheese soup fish honey bean corn grape nut plum".split(),
    "home": "cave forest river desert island tower barn tent castle lake hill ship".split(),
    "job": "baker farmer doctor pilot singer tailor guard painter miner judge nurse cook".split(),
    "drink": "tea milk juice water cider cocoa broth soda mead nectar coffee syrup".split(),
    "month": "january february march april may june july august september october november december".split(),
    "metal": "iron gold silver copper tin lead zinc brass steel bronze nickel chrome".split(),
    "animal": "cat dog horse cow goat sheep bear wolf fox owl crow seal".split(),
    "sport": "golf tennis chess rowing boxing polo judo skiing diving archery cricket rugby".split(),
}
# The knowledge base is part of the datasets' definition: it never depends on the study's seed.
_KNOWLEDGE_SEED = 20240924
_FONT_FILE = "DejaVuSans-Bold.ttf"
DIGIT_HEIGHTS_PX = (8, 12, 16, 24, 32, 48)
_LENGTH_SHARES = (0.5, 0.3, 0.2)  # of numbers with one, two and three digits
OBJECT_SIZES_PX = (12, 16, 24, 32, 48)
_OVERVIEW_PATCHES = 6  # of the embedded model, along the longer side: what is smaller than one is not recognised
_KIND_SHARES = {"yes/no": 0.38, "number": 0.12, "other": 0.5}  # of the answers of VQA v2 (arXiv 1612.00837)


@dataclass(frozen=True)
class Question:
    text: str
    answer: str


@dataclass(frozen=True)
class Placed:
    """Something drawn: its box in px (left, top, right, bottom) and what it is."""

    box: tuple[float, float, float, float]
    label: str
    colour: str


@dataclass
class Scene:
    """An image with everything that can be asked about it.

    Attributes:
        image: RGB.
        questions: all questions, shuffled.
        parts: objects, signs and digits with their boxes, for the pretraining of the vision tower.
    """

    image: Image.Image
    questions: list[Question] = field(default_factory=list)
    parts: list[Placed] = field(default_factory=list)


Entity = tuple[str, str]  # (shape, colour)
Size = tuple[int, int]  # (width, height) in px
Generator = Callable[[np.random.Generator, Size], Scene]


@cache
def knowledge() -> tuple[dict[tuple[Entity, str], str], dict[Entity, Entity]]:
    """The fixed random knowledge base: facts (entity, relation) -> word, and every entity's friend."""
    rng = np.random.default_rng(_KNOWLEDGE_SEED)
    entities = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    facts = {(e, relation): str(rng.choice(words)) for e in entities for relation, words in RELATIONS.items()}
    return facts, {e: entities[rng.integers(len(entities))] for e in entities}


def entity_questions(entity: Entity, name: str) -> list[Question]:
    """Every knowledge question about an entity, which the question calls `name`: half need one fact, half need two."""
    facts, friends = knowledge()
    return [Question(f"what is the {r} of the {name} ?", facts[entity, r]) for r in RELATIONS] + [
        Question(f"what is the {r} of the friend of the {name} ?", facts[friends[entity], r]) for r in RELATIONS
    ]


def scene(dataset: str, split: str, index: int, canvas: Size = LARGEST_CANVAS_PX) -> Scene:
    """The `index`-th scene of a split of a dataset.

    It is the same on every machine that has the same versions of NumPy and Pillow.
    """
    return _drawn(f"{dataset}/{split}/{index}", GENERATORS[dataset], canvas)


def crowded_scene(smallest_px: int, split: str, index: int, canvas: Size = LARGEST_CANVAS_PX) -> Scene:
    """As many signs and objects from a size as find room, without questions: for the pretraining of the vision tower.

    They stand so far apart that no image token shows two of them at the vision tier that just resolves this size.
    """
    return _drawn(f"crowded_{smallest_px}px/{split}/{index}", partial(_crowd, smallest_px=smallest_px), canvas)


def reading_lesson(lesson: str, split: str, index: int, canvas: Size = LARGEST_CANVAS_PX) -> Scene:
    """A text_vqa scene that teaches one thing at a time, for the training of the embedded model: "one_sign" to read a
    number, mostly of several digits; "choose" to read the sign that is asked for, among two or three with one digit."""
    return _drawn(f"{lesson}/{split}/{index}", _LESSONS[lesson], canvas)


def _drawn(seed: str, generator: Generator, canvas: Size = LARGEST_CANVAS_PX) -> Scene:
    rng = _rng(seed)
    result = generator(rng, canvas)
    result.image = _add_noise(result.image, rng)
    rng.shuffle(result.questions)
    return result


def _rng(seed: str) -> np.random.Generator:
    digest = hashlib.sha256(seed.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def scenes(dataset: str, split: str) -> Iterator[Scene]:
    """All scenes of a split. Their canvases come in random order, but in every four scenes each one occurs once."""
    for start in count(step=len(CANVASES_PX)):
        order = _rng(f"{dataset}/{split}/sizes/{start}").permutation(len(CANVASES_PX))
        for index, drawn in enumerate(order, start):
            yield scene(dataset, split, index, CANVASES_PX[drawn])


def text_scene(
    rng: np.random.Generator,
    canvas: Size,
    signs: tuple[int, int] = (1, 3),
    length_shares: Sequence[float] = _LENGTH_SHARES,
) -> Scene:
    """So many signs (least, most) of different colours."""
    result = Scene(_background(rng, canvas))
    draw = ImageDraw.Draw(result.image)
    for colour in rng.permutation(list(COLOURS))[: rng.integers(signs[0], signs[1] + 1)]:
        number = _place_sign(result, draw, rng, str(colour), DIGIT_HEIGHTS_PX, length_shares)
        if number is not None:
            result.questions += _sign_questions(number, str(colour))
    return result


def _place_sign(
    result: Scene, draw, rng, colour: str, heights_px: Sequence[int], length_shares: Sequence[float] = _LENGTH_SHARES
) -> str | None:
    """Draws a sign where it overlaps nothing; returns its number, or None when no place was found."""
    digits = int(rng.choice(len(length_shares), p=length_shares)) + 1
    number = str(rng.integers(10**digits)).zfill(digits)
    height = int(rng.choice(_in_proportion(heights_px, result.image.size)))
    pitch = 2 * 2 ** int(math.log2(height))
    number = number[: result.image.width // pitch]  # large digits on a narrow canvas leave room for one
    box = _free_box(rng, result, height, (pitch * len(number), pitch), step=pitch, margin=pitch / 4)
    if box is None:
        return None
    draw.rounded_rectangle(box, radius=pitch / 4, fill=COLOURS[colour])
    result.parts.append(Placed(box, "sign", colour))
    font = _font(round(height / 0.73))
    middle = (box[1] + box[3]) / 2
    for position, digit in enumerate(number):
        left = box[0] + pitch / 4 + position * pitch
        draw.text((left + pitch / 2, middle), digit, font=font, fill=_INK, anchor="mm")
        result.parts.append(Placed((left, middle - height / 2, left + pitch, middle + height / 2), digit, colour))
    return number


def _in_proportion(sizes_px: Sequence[int], canvas: Size) -> list[int]:
    """The sizes up to a quarter of the canvas's longer side: so large do things get in the overview of the largest."""
    return [size for size in sizes_px if 4 * size <= max(canvas)]


def _grid_step(size: float) -> int:
    """The largest power of two, from 16 px, that does not exceed an object's size."""
    return max(16, 2 ** int(math.log2(size)))


def _sign_questions(number: str, colour: str) -> list[Question]:
    questions = [Question(f"what number is on the {colour} sign ?", number)] * 2
    if len(number) > 1:
        questions += [
            Question(f"what is the first digit on the {colour} sign ?", number[0]),
            Question(f"what is the last digit on the {colour} sign ?", number[-1]),
            Question(f"what is the sum of the digits on the {colour} sign ?", str(sum(map(int, number)))),
        ]
    return questions


def knowledge_scene(rng: np.random.Generator, canvas: Size) -> Scene:
    """One to three objects of different shapes, asked about by shape."""
    result = Scene(_background(rng, canvas))
    _place_objects(result, rng, rng.permutation(SHAPES)[: rng.integers(1, 4)], OBJECT_SIZES_PX)
    for part in result.parts:
        asked = entity_questions((part.label, part.colour), part.label)
        result.questions += [asked[i] for i in rng.permutation(len(asked))[:6]]
    return result


def objects_scene(rng: np.random.Generator, canvas: Size) -> Scene:
    """Three to eight objects; shapes and colours may repeat."""
    result = Scene(_background(rng, canvas))
    palette = rng.permutation(SHAPES)[: rng.integers(4, 9)]
    _place_objects(result, rng, rng.choice(palette, size=rng.integers(3, 9)), OBJECT_SIZES_PX[:4])
    kinds = {
        "yes/no": _existence_questions(result, rng),
        "number": _count_questions(result, rng),
        "other": _colour_questions(result) + _neighbour_questions(result)[:1],
    }
    result.questions = _mixed(kinds, rng)
    return result


def _mixed(kinds: dict[str, list[Question]], rng) -> list[Question]:
    """Questions of random kinds, each as often as its share says, up to the first for which no more is left."""
    for questions in kinds.values():
        rng.shuffle(questions)
    result = []
    while questions := kinds[rng.choice(list(_KIND_SHARES), p=list(_KIND_SHARES.values()))]:
        result.append(questions.pop())
    return result


def _count_questions(result: Scene, rng) -> list[Question]:
    shapes, colours = [p.label for p in result.parts], [p.colour for p in result.parts]
    asked = sorted(set(shapes)) + [str(rng.choice(SHAPES))]
    by_shape = [Question(f"how many {shape} are there ?", str(shapes.count(shape))) for shape in asked]
    by_colour = [Question(f"how many {c} objects are there ?", str(colours.count(c))) for c in sorted(set(colours))]
    return by_shape + by_colour + [Question("how many objects are there ?", str(len(shapes)))]


def _colour_questions(result: Scene) -> list[Question]:
    shapes = [p.label for p in result.parts]
    unique = [p for p in result.parts if shapes.count(p.label) == 1]
    return [Question(f"what color is the {p.label} ?", p.colour) for p in unique]


def _existence_questions(result: Scene, rng) -> list[Question]:
    present = sorted({(p.colour, p.label) for p in result.parts})
    absent = [(str(rng.choice(list(COLOURS))), shape) for _, shape in present]
    return [
        Question(f"is there a {colour} {shape} ?", "yes" if (colour, shape) in present else "no")
        for colour, shape in present[:2] + absent[:3]
    ]


def _neighbour_questions(result: Scene) -> list[Question]:
    """Nearest object to a unique shape: the answer is a shape."""
    shapes = [p.label for p in result.parts]
    questions = []
    for part in result.parts:
        if shapes.count(part.label) > 1:
            continue
        distances = sorted((_distance(part, other), other.label) for other in result.parts if other is not part)
        if len(distances) == 1 or distances[0][0] < 0.8 * distances[1][0]:
            questions.append(Question(f"what is next to the {part.label} ?", distances[0][1]))
    return questions


def _distance(a: Placed, b: Placed) -> float:
    ax, ay, bx, by = (sum(box[i::2]) / 2 for box in (a.box, b.box) for i in (0, 1))
    return float(np.hypot(ax - bx, ay - by))


def _crowd(rng: np.random.Generator, canvas: Size, smallest_px: int) -> Scene:
    result = Scene(_background(rng, canvas))
    heights = [height for height in DIGIT_HEIGHTS_PX if smallest_px <= height <= 4 * smallest_px]
    sizes = [size for size in OBJECT_SIZES_PX if size >= smallest_px]
    draw = ImageDraw.Draw(result.image)
    for _ in range(3):
        _place_sign(result, draw, rng, str(rng.choice(list(COLOURS))), heights)
    _place_objects(result, rng, rng.choice(SHAPES, size=8), sizes, 2 * smallest_px)
    for _ in range(8):
        _place_sign(result, draw, rng, str(rng.choice(list(COLOURS))), heights[:3])
    _place_objects(result, rng, rng.choice(SHAPES, size=12), sizes[:2], 2 * smallest_px)
    return result


GENERATORS: dict[str, Generator] = {
    "text_vqa": text_scene,
    "okvqa": knowledge_scene,
    "coco_2014_vqa": objects_scene,
}
_LESSONS: dict[str, Generator] = {
    "one_sign": partial(text_scene, signs=(1, 1), length_shares=(0.1, 0.45, 0.45)),
    "choose": partial(text_scene, signs=(2, 3), length_shares=(1, 0, 0)),
}


def _place_objects(result: Scene, rng, shapes, sizes_px: Sequence[int], smallest_step: int = 16) -> None:
    draw = ImageDraw.Draw(result.image)
    for shape in shapes:
        size = int(rng.choice(_in_proportion(sizes_px, result.image.size)))
        box = _free_box(rng, result, size, (size, size), max(smallest_step, _grid_step(size)))
        if box is None:
            continue
        colour = str(rng.choice(list(COLOURS)))
        _SHAPE_DRAWERS[str(shape)](draw, box, COLOURS[colour])
        result.parts.append(Placed(box, str(shape), colour))


def _free_box(rng, result: Scene, size_px: int, extent: Size, step: int, margin: float = 0):
    """A random box on the grid of `step` px for something whose parts are `size_px` large, with a margin around it,
    that overlaps nothing; None when no place was found. A margin may reach beyond the canvas."""
    lefts, tops = _grid_places(result.image.size, size_px, extent, step)
    width, height = extent
    taken = [part.box for part in result.parts]
    for _ in range(60):
        left, top = lefts[rng.integers(len(lefts))], tops[rng.integers(len(tops))]
        box = (left - margin, top - margin, left + width + margin, top + height + margin)
        if not _overlaps_any(box, taken):
            return box
    return None


def _grid_places(canvas: Size, size_px: int, extent: Size, step: int) -> list[range]:
    """Where the left and the top of something may be.

    Crops start in the canvas's corner. The overview starts outside an oblong one, which is padded to a square: what is
    so large that the overview shows it stands on the square's grid. Digits on the corner's were misread at every tier.
    """
    longest = max(canvas)
    in_overview = size_px * _OVERVIEW_PATCHES >= longest
    places = []
    for side, length in zip(canvas, extent, strict=True):
        first = (side - longest) // 2 % step if in_overview else 0
        places.append(range(first, side - length + 1, step))
    return places


def _overlaps_any(box, others: list) -> bool:
    left, top, right, bottom = box
    # A loop, which takes half the time of any(...): crowded scenes ask this 100 000 times.
    for other_left, other_top, other_right, other_bottom in others:
        if left < other_right and other_left < right and top < other_bottom and other_top < bottom:
            return True
    return False


def _background(rng, canvas: Size) -> Image.Image:
    """A soft gradient between four dark colours, one per corner."""
    corners = (rng.uniform(25, 60, size=3) + rng.uniform(-20, 20, size=(2, 2, 3))).astype(np.uint8)
    return Image.fromarray(corners).resize(canvas, Image.Resampling.BILINEAR)


def _add_noise(image: Image.Image, rng) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)
    noise = rng.standard_normal((*pixels.shape[:2], 1), dtype=np.float32) * np.float32(rng.uniform(1, 6))
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu comes with matplotlib, so every machine draws with the same font files."""
    package = Path(importlib.util.find_spec("matplotlib").origin).parent
    return ImageFont.truetype(str(package / "mpl-data" / "fonts" / "ttf" / _FONT_FILE), size)


def _polygon(*points: tuple[float, float]) -> Callable:
    """Drawer of a polygon given in the unit square."""

    def draw_polygon(draw, box, colour) -> None:
        left, top, right, bottom = box
        draw.polygon([(left + x * (right - left), top + y * (bottom - top)) for x, y in points], fill=colour)

    return draw_polygon


def _draw_circle(draw, box, colour) -> None:
    draw.ellipse(box, fill=colour)


def _draw_ring(draw, box, colour) -> None:
    draw.ellipse(box, outline=colour, width=max(2, round((box[2] - box[0]) * 0.22)))


def _draw_moon(draw, box, colour) -> None:
    angles = np.linspace(0.25 * np.pi, 1.75 * np.pi, 24)
    outer = [(0.5 + 0.5 * np.cos(a), 0.5 + 0.5 * np.sin(a)) for a in angles]
    inner = [(0.72 + 0.36 * np.cos(a), 0.5 + 0.36 * np.sin(a)) for a in angles[::-1]]
    _polygon(*outer, *inner)(draw, box, colour)


def _draw_heart(draw, box, colour) -> None:
    t = np.linspace(0, 2 * np.pi, 32)
    x = 0.5 + 0.5 * np.sin(t) ** 3
    y = 0.44 - (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 30
    _polygon(*zip(x, y, strict=True))(draw, box, colour)


def _star_points() -> list[tuple[float, float]]:
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    radii = np.where(np.arange(10) % 2 == 0, 0.52, 0.21)
    return [(0.5 + r * np.cos(a), 0.52 + r * np.sin(a)) for r, a in zip(radii, angles, strict=True)]


_SHAPE_DRAWERS = {
    "circle": _draw_circle,
    "ring": _draw_ring,
    "moon": _draw_moon,
    "heart": _draw_heart,
    "square": _polygon((0.06, 0.06), (0.94, 0.06), (0.94, 0.94), (0.06, 0.94)),
    "triangle": _polygon((0.5, 0.02), (1, 0.95), (0, 0.95)),
    "star": _polygon(*_star_points()),
    "cross": _polygon(
        *[(0.34, 0), (0.66, 0), (0.66, 0.34), (1, 0.34), (1, 0.66), (0.66, 0.66)],
        *[(0.66, 1), (0.34, 1), (0.34, 0.66), (0, 0.66), (0, 0.34), (0.34, 0.34)],
    ),
}
