"""Small files in the layouts of other tools, written by hand, with the points that are in them.

Each writer takes a path (a folder, for OpenPose) and `points (frame, individual, point, 2)` with NaN for missing and
`score (frame, individual, point)`; `TOOLS` names them with the extension that the tool uses.
"""

import json
import pickle

import numpy as np

NAMES = ("nose", "left_ear", "right_ear", "tail")
PEOPLE = ("a", "b")


def example(seed=0, frames=6, individuals=1):
    """Points that move smoothly in pixels, some missing, and their scores."""
    rng = np.random.default_rng(seed)
    base = (
        rng.uniform(50, 90, (1, individuals, len(NAMES), 2))
        + 300 * np.arange(individuals)[None, :, None, None]
    )
    points = (
        base
        + 3 * np.arange(frames)[:, None, None, None]
        + rng.normal(size=(frames, individuals, len(NAMES), 2))
    )
    points[frames // 2, 0, 1] = np.nan
    score = np.where(np.isnan(points).any(-1), np.nan, rng.uniform(0.7, 1, points.shape[:3]))
    return points.round(3), score.round(3)


def text(value):
    return "" if np.isnan(value) else f"{value:.3f}"


def _columns(points, individuals):
    return [(who, name, axis) for who in individuals for name in NAMES for axis in ("x", "y", "likelihood")]


def _values(points, score):
    return np.concatenate([points, score[..., None]], -1).reshape(len(points), -1)


def dlc_csv(path, points, score):
    people = PEOPLE[: points.shape[1]]
    columns = _columns(points, people)
    rows = [["scorer"] + ["DLC_net"] * len(columns)]
    if len(people) > 1:
        rows.append(["individuals"] + [c[0] for c in columns])
    rows += [["bodyparts"] + [c[1] for c in columns], ["coords"] + [c[2] for c in columns]]
    rows += [[str(f)] + [text(v) for v in row] for f, row in enumerate(_values(points, score))]
    path.write_text("\n".join(",".join(r) for r in rows) + "\n")


def lightning_csv(path, points, score):
    dlc_csv(path, points, score)
    path.write_text(path.read_text().replace("DLC_net", "heatmap_tracker"))


def dlc_table(path, points, score):
    """pandas' `table` layout, the names pickled as PyTables does."""
    import h5py

    people = PEOPLE[: points.shape[1]]
    several = len(people) > 1
    columns = [("net", *(c if several else c[1:])) for c in _columns(points, people)]
    names = ["scorer", "individuals", "bodyparts", "coords"] if several else ["scorer", "bodyparts", "coords"]
    values = _values(points, score)
    table = np.zeros(len(values), [("index", "<i8"), ("values_block_0", "<f8", (values.shape[1],))])
    table["index"], table["values_block_0"] = np.arange(len(values)), values
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        group.attrs["non_index_axes"] = np.bytes_(pickle.dumps([(1, columns)], 0))
        group.attrs["info"] = np.bytes_(
            pickle.dumps({1: {"names": names, "type": "MultiIndex"}, "index": {}}, 0)
        )
        data = group.create_dataset("table", data=table)
        data.attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(columns, 0))


def dlc_fixed(path, points, score):
    """pandas' `fixed` layout: levels and codes."""
    import h5py

    people = PEOPLE[: points.shape[1]]
    columns = [("net", *c) for c in _columns(points, people)]
    values = _values(points, score)
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame")
        group.attrs["axis0_nlevels"] = group.attrs["block0_items_nlevels"] = 4
        group.attrs["nblocks"] = 1
        group.attrs["axis1_variety"] = np.bytes_(b"regular")
        group.create_dataset("axis1", data=np.arange(len(values)))
        group.create_dataset("block0_values", data=values)
        for axis in ("axis0", "block0_items"):
            for i, level in enumerate(("scorer", "individuals", "bodyparts", "coords")):
                texts = sorted({c[i] for c in columns})
                data = group.create_dataset(f"{axis}_level{i}", data=np.array(texts, "S"))
                data.attrs["name"] = np.bytes_(level.encode())
                group.create_dataset(
                    f"{axis}_label{i}", data=np.array([texts.index(c[i]) for c in columns], "i1")
                )


def sleap_h5(path, points, score):
    import h5py

    with h5py.File(path, "w") as file:
        file["tracks"] = points.transpose(1, 3, 2, 0)
        file["point_scores"] = score.transpose(1, 2, 0)
        file["node_names"] = np.array(NAMES, "S")
        file["track_names"] = np.array(PEOPLE[: points.shape[1]], "S")
        file["edge_inds"] = np.array([[0, 1], [0, 2]], "i4")


def slp(path, points, score, version=1.2):
    """Predictions; the nodes are listed backwards, and the skeleton puts them right."""
    import h5py

    n_frames, n, n_points = points.shape[:3]
    about = {
        "nodes": [{"name": n, "weight": 1.0} for n in reversed(NAMES)],
        "skeletons": [{
            "nodes": [{"id": i} for i in reversed(range(n_points))],
            "links": [
                {"source": 3, "target": 2, "type": {"py/reduce": [{"py/type": "E"}, {"py/tuple": [1]}]}},
                {"source": 3, "target": 1, "type": {"py/id": 1}},
                {"source": 2, "target": 1, "type": {"py/reduce": [{"py/type": "E"}, {"py/tuple": [2]}]}},
            ],
        }],
    }  # fmt: skip
    flat = np.zeros(
        n_frames * n * n_points, [(k, "<f8") for k in ("x", "y")] + [("visible", "?"), ("score", "<f8")]
    )
    flat["x"], flat["y"] = np.nan_to_num(points[..., 0].ravel()), np.nan_to_num(points[..., 1].ravel())
    flat["visible"], flat["score"] = np.isfinite(score.ravel()), np.nan_to_num(score.ravel())
    kinds = [("instance_id", "<i8"), ("instance_type", "u1"), ("track", "<i4"), ("from_predicted", "<i8"),
             ("point_id_start", "<u8"), ("point_id_end", "<u8")]  # fmt: skip
    instances = np.array(
        [(i, 1, i % n, -1, i * n_points, (i + 1) * n_points) for i in range(n_frames * n)], kinds
    )
    frames = np.array(
        [(0, f, f * n, (f + 1) * n) for f in range(n_frames)],
        [("video", "<u4"), ("frame_idx", "<u8"), ("instance_id_start", "<u8"), ("instance_id_end", "<u8")],
    )
    with h5py.File(path, "w") as file:
        group = file.create_group("metadata")
        group.attrs["json"], group.attrs["format_id"] = np.bytes_(json.dumps(about).encode()), version
        file["frames"], file["instances"], file["pred_points"] = frames, instances, flat
        file["tracks_json"] = np.array([json.dumps([0, name]) for name in PEOPLE[:n]], "S")


def flat(points, score, f, i):
    """x, y, score of one person, zeros for missing."""
    both = np.concatenate([points[f, i], score[f, i][:, None]], -1)
    return np.where(np.isnan(both).any(-1, keepdims=True), 0.0, both).ravel().tolist()


def coco(path, points, score):
    annotations = []
    for f in range(len(points)):
        for i in range(points.shape[1]):
            row = np.reshape(flat(points, score, f, i), (-1, 3))
            row[:, 2] = np.where(row[:, 2] > 0, 2, 0)
            annotations.append({"image_id": f, "category_id": 1, "keypoints": row.ravel().tolist()})
    category = {"id": 1, "name": "mouse", "keypoints": list(NAMES), "skeleton": [[1, 2], [1, 3]]}
    images = [{"id": f, "file_name": f"{f}.png", "width": 640, "height": 480} for f in range(len(points))]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))


def alphapose(path, points, score):
    path.write_text(json.dumps([
        {"image_id": f"{f}.jpg", "category_id": 1, "keypoints": flat(points, score, f, i), "score": 1.5, "idx": [i]}
        for f in range(len(points)) for i in range(points.shape[1])
    ]))  # fmt: skip


def openpose(path, points, score):
    path.mkdir(exist_ok=True)
    for f in range(len(points)):
        people = [{"pose_keypoints_2d": flat(points, score, f, i)} for i in range(points.shape[1])]
        people = people[::-1] if f % 2 else people  # in no order
        (path / f"v_{f:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))


def mmpose(path, points, score):
    frames = []
    for f in range(len(points)):
        rows = [np.reshape(flat(points, score, f, i), (-1, 3)) for i in range(points.shape[1])]
        rows = rows[::-1] if f % 2 else rows
        frames.append({"frame_id": f, "instances": [
            {"keypoints": r[:, :2].tolist(), "keypoint_scores": r[:, 2].tolist()} for r in rows
        ]})  # fmt: skip
    meta = {"keypoint_id2name": {str(i): n for i, n in enumerate(NAMES)}, "skeleton_links": [[0, 1], [0, 2]]}
    path.write_text(json.dumps({"meta_info": meta, "instance_info": frames}))


def mediapipe_csv(path, points, score):
    header = ["frame"] + [f"{n}_{k}" for n in NAMES for k in ("x", "y", "z", "visibility")]
    rows = [
        [str(f)] + [t for p in range(len(NAMES)) for t in
                    (text(points[f, 0, p, 0]), text(points[f, 0, p, 1]), "0.1", text(score[f, 0, p]))]
        for f in range(len(points))
    ]  # fmt: skip
    path.write_text("\n".join(",".join(r) for r in [header, *rows]) + "\n")


def mediapipe_json(path, points, score):
    def mark(f, p):
        x, y = np.nan_to_num(points[f, 0, p])
        return {"x": x, "y": y, "z": 0.1, "visibility": float(np.nan_to_num(score[f, 0, p]))}

    path.write_text(json.dumps([[mark(f, p) for p in range(len(NAMES))] for f in range(len(points))]))


def movement(path, points, score):
    import h5py

    with h5py.File(path, "w") as file:
        file["position"] = points.transpose(0, 3, 2, 1)
        file["confidence"] = score.transpose(0, 2, 1)
        text = h5py.string_dtype()
        file["time"] = np.arange(len(points)) / 25.0
        file.create_dataset("space", data=["x", "y"], dtype=text)
        file.create_dataset("keypoints", data=list(NAMES), dtype=text)
        file.create_dataset("individuals", data=list(PEOPLE[: points.shape[1]]), dtype=text)
        for name in ("time", "space", "keypoints", "individuals"):
            file[name].make_scale(name)
        for name, dims in (("position", ("time", "space", "keypoints", "individuals")),
                           ("confidence", ("time", "keypoints", "individuals"))):  # fmt: skip
            for axis, dim in enumerate(dims):
                file[name].dims[axis].attach_scale(file[dim])
        file.attrs["fps"], file.attrs["time_unit"] = 25.0, np.bytes_("seconds")  # as netCDF4 writes text


def videopose3d(path, points, score):
    positions = {"S1": {"walk": [points[:, 0].astype("f4")]}}
    about = {
        "layout_name": "own",
        "keypoints_symmetry": [[1], [2]],
        "video_metadata": {"S1": {"w": 640, "h": 480}},
    }
    np.savez(path, positions_2d=np.array(positions, object), metadata=np.array(about, object))


def tracks(path, points, score):
    np.savez(path, tracks=np.nan_to_num(points[:, 0]).transpose(1, 0, 2), visible=np.isfinite(score[:, 0]).T)


def wide_csv(path, points, score):
    header = ["frame"] + [f"{n}_{k}" for n in NAMES for k in ("x", "y", "likelihood")]
    rows = [[str(f)] + [text(v) for v in row] for f, row in enumerate(_values(points[:, :1], score[:, :1]))]
    path.write_text("\n".join(",".join(r) for r in [header, *rows]) + "\n")


def long_csv(path, points, score):
    rows = [["frame", "individual", "point", "x", "y", "confidence"]]
    for f, i, p in np.ndindex(points.shape[:3]):
        rows.append([str(f), PEOPLE[i], NAMES[p], *(text(v) for v in points[f, i, p]), text(score[f, i, p])])
    path.write_text("\n".join(",".join(r) for r in rows) + "\n")


def label_studio(path, points, score):
    """The full export: a point is tied to its animal by nesting or by a relation, in turns."""
    tasks = []
    for f in range(len(points)):
        regions = []
        for i in range(points.shape[1]):
            box = {
                "id": f"box{i}",
                "type": "rectanglelabels",
                "value": {"x": 1, "y": 1, "rectanglelabels": ["mouse"]},
            }
            regions.append(box)
            for p, name in enumerate(NAMES):
                if np.isfinite(points[f, i, p]).all():
                    x, y = points[f, i, p] * [100 / 640, 100 / 480]
                    regions.append({
                        "id": f"{i}-{p}", "type": "keypointlabels", "original_width": 640, "original_height": 480,
                        "image_rotation": 0, "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": [name]},
                    })  # fmt: skip
                    if f % 2:
                        regions[-1]["parentID"] = f"box{i}"
                    else:
                        regions.append({"type": "relation", "from_id": f"{i}-{p}", "to_id": f"box{i}"})
        tasks.append({
            "id": f, "data": {"image": f"/data/upload/1/{f}.png"}, "predictions": [],
            "annotations": [{"was_cancelled": True, "result": []}, {"was_cancelled": False, "result": regions}],
        })  # fmt: skip
    path.write_text(json.dumps(tasks))


def _cvat(path, mode, body):
    picture = (
        '<line data-type="edge" data-node-from="1" data-node-to="2"></line>'
        '<line data-type="edge" data-node-from="1" data-node-to="3"></line>'
    ) + "".join(
        f'<circle data-type="element node" data-node-id="{k}" data-label-name="{n}"></circle>'
        for k, n in enumerate(NAMES, 1)
    )
    drawn = picture.replace("<", "&lt;").replace(">", "&gt;")
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task><mode>{mode}</mode>'
        f"<labels><label><name>mouse</name><type>skeleton</type><svg>{drawn}</svg></label></labels>"
        f"<original_size><width>640</width><height>480</height></original_size></task></meta>{body}</annotations>"
    )


def _cvat_skeleton(points, attributes):
    marks = "".join(
        f'<points label="{n}" outside="{int(np.isnan(xy).any())}" occluded="1" '
        f'points="{",".join(map(str, np.nan_to_num(xy)))}"/>'
        for n, xy in zip(reversed(NAMES), points[::-1], strict=True)  # the drawing puts them in order
    )
    return f"<skeleton {attributes}>{marks}</skeleton>"


def cvat_video(path, points, score):
    body = "".join(
        f'<track id="{i}" label="mouse">'
        + "".join(_cvat_skeleton(points[f, i], f'frame="{f}" keyframe="1"') for f in range(len(points)))
        + "</track>"
        for i in range(points.shape[1])
    )
    _cvat(path, "interpolation", body)


def cvat_images(path, points, score):
    body = "".join(
        f'<image id="{f}" name="{f}.png" width="640" height="480">'
        + "".join(_cvat_skeleton(points[f, i], 'label="mouse"') for i in range(points.shape[1]))
        + "</image>"
        for f in range(len(points))
    )
    _cvat(path, "annotation", body)


TOOLS = {
    "deeplabcut csv": (dlc_csv, "a.csv", "deeplabcut"),
    "deeplabcut table": (dlc_table, "a.h5", "deeplabcut"),
    "deeplabcut fixed": (dlc_fixed, "a.h5", "deeplabcut"),
    "lightning-pose": (lightning_csv, "a.csv", "lightning-pose"),
    "sleap h5": (sleap_h5, "a.h5", "sleap"),
    "slp": (slp, "a.slp", "sleap"),
    "coco": (coco, "a.json", "coco"),
    "alphapose": (alphapose, "a.json", "alphapose"),
    "openpose": (openpose, "frames", "openpose"),
    "mmpose": (mmpose, "a.json", "mmpose"),
    "mediapipe csv": (mediapipe_csv, "a.csv", "mediapipe"),
    "mediapipe json": (mediapipe_json, "a.json", "mediapipe"),
    "label studio": (label_studio, "a.json", "label-studio"),
    "cvat video": (cvat_video, "a.xml", "cvat"),
    "cvat images": (cvat_images, "a.xml", "cvat"),
    "movement": (movement, "a.nc", "movement"),
    "videopose3d": (videopose3d, "a.npz", "videopose3d"),
    "tracks": (tracks, "a.npz", "tracks"),
    "wide csv": (wide_csv, "a.csv", "csv"),
    "long csv": (long_csv, "a.csv", "csv"),
}
ONE_ONLY = {"mediapipe csv", "mediapipe json", "videopose3d", "tracks", "wide csv"}
NO_SCORE = {"coco", "label studio", "cvat video", "cvat images", "videopose3d", "tracks"}
PICTURES = {"coco", "label studio", "cvat images"}
"""Of labelled images, which are in no order: each instance is a clip of its own."""
