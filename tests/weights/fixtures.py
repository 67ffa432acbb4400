"""Writes small weight files and what they hold, for tests/weights/mod.rs: python3 fixtures.py FOLDER [MODEL.gguf]

Per weight a line in FOLDER/weights.json: file, tensor, and a file of little-endian f32 that an independent decoder made: the
package `gguf` for GGUF's blocks, numpy by the formats' own descriptions for the others. Needs numpy, gguf.
"""
import json, pathlib, struct, sys
import numpy as np
import gguf

out = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(7)
cases = []
E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def expect(file, tensor, values, **more):
    values = np.ascontiguousarray(values, np.float32)
    name = f"{len(cases)}.f32"
    (out / name).write_bytes(values.tobytes())
    cases.append(dict(file=file, tensor=tensor, expected=name, **more))


def safetensors(name, tensors):
    header, data = {}, b""
    for key, (dtype, array) in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[key] = dict(dtype=dtype, shape=list(array.shape), data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (out / name).write_bytes(struct.pack("<Q", len(text)) + text + data)


def bf16(a):
    return (np.asarray(a, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def widen(a):
    return (a.astype(np.uint32) << 16).view(np.float32)


def e4m3(a):
    a = a.astype(np.int32)
    e, m = (a >> 3) & 15, a & 7
    value = np.where(e == 0, m * 2.0**-9, (8 + m) * np.exp2(e - 10.0))
    return np.where(a & 128, -value, value).astype(np.float32)


# GGUF: random blocks with finite scales, of two and of three extents.
writer = gguf.GGUFWriter(str(out / "blocks.gguf"), "test")
writer.add_array("test.words", ["a", "b", ""])
T = gguf.GGMLQuantizationType
halves = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q8_0: [0], T.Q4_K: [0, 2], T.Q6_K: [208], T.MXFP4: []}
if hasattr(T, "NVFP4"):
    halves[T.NVFP4] = []
else:
    print("NVFP4: this package gguf does not know it")
blocks = []
for kind, at in halves.items():
    weights, size = gguf.GGML_QUANT_SIZES[kind]
    for shape in [(5, 3), (2, 3, 2)]:
        raw = rng.integers(0, 256, (*shape, size), dtype=np.uint8)
        for offset in at:
            half = (rng.standard_normal(shape) * 2.0 ** rng.integers(-16, 4, shape)).astype(np.float16)
            raw[..., offset : offset + 2] = half[..., None].view(np.uint8)
        if kind == T.MXFP4:
            raw[..., 0] = rng.integers(0, 240, shape)
        name = f"{kind.name}.{len(shape)}"
        raw = raw.reshape(*shape[:-1], shape[-1] * size)
        writer.add_tensor(name, raw, raw_dtype=kind)
        blocks.append((name, raw, kind))
plain = rng.standard_normal((4, 48)).astype(np.float32)
writer.add_tensor("plain", plain)
writer.add_tensor("half", plain.astype(np.float16))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
for name, raw, kind in blocks:
    expect("blocks.gguf", name, gguf.dequantize(raw, kind))
expect("blocks.gguf", "plain", plain)
expect("blocks.gguf", "half", plain.astype(np.float16))

# GPTQ: codes [k, n] packed along k, zero points along n.
def along(a, axis):
    a = np.moveaxis(a, axis, -1).astype(np.uint32).reshape(*np.moveaxis(a, axis, -1).shape[:-1], -1, 8)
    words = (a << (4 * np.arange(8, dtype=np.uint32))).sum(-1, dtype=np.uint32)
    return np.moveaxis(words, -1, axis).view(np.int32)


def gptq(file, k, n, g, least, most, minus, order=None):
    q = rng.integers(0, 16, (k, n))
    z = rng.integers(least, most + 1, (k // g, n))
    s = (rng.random((k // g, n)) * 0.01 + 0.001).astype(np.float16)
    g_idx = np.arange(k) // g if order is None else order // g
    tensors = {
        "l.qweight": ("I32", along(q, 0)), "l.qzeros": ("I32", along(z - minus, 1)), "l.scales": ("F16", s),
        "l.g_idx": ("I32", g_idx.astype(np.int32)),
    }
    safetensors(file, tensors)
    values = (q - z[g_idx]) * s[g_idx].astype(np.float32)
    expect(file, "l.qweight", values.T, in_x_order=True, gptq_v2=minus == 0)


gptq("gptq_sym.safetensors", 128, 64, 32, 8, 8, 1)
gptq("gptq_asym.safetensors", 256, 40, 128, 1, 15, 1)
gptq("gptq_16.safetensors", 128, 24, 32, 1, 16, 1)
gptq("gptq_v2.safetensors", 128, 24, 64, 0, 15, 0)
gptq("gptq_act_order.safetensors", 128, 24, 32, 1, 15, 1, rng.permutation(128))
gptq("gptq_one_group.safetensors", 192, 16, 192, 1, 15, 1)

# AWQ: along n, in the order 0 2 4 6 1 3 5 7.
k, n, g = 256, 64, 128
q, z = rng.integers(0, 16, (k, n)), rng.integers(0, 16, (k // g, n))
s = (rng.random((k // g, n)) * 0.02 + 0.001).astype(np.float16)
shuffle = lambda a: along(a.reshape(a.shape[0], -1, 8)[..., [0, 2, 4, 6, 1, 3, 5, 7]].reshape(a.shape), 1)
safetensors("awq.safetensors", {"l.qweight": ("I32", shuffle(q)), "l.qzeros": ("I32", shuffle(z)), "l.scales": ("F16", s)})
expect("awq.safetensors", "l.qweight", ((q - np.repeat(z, g, 0)) * np.repeat(s.astype(np.float32), g, 0)).T)

# Codes of E2M1, the low nibble first, under E4M3 or E8M0 scales.
w = rng.integers(0, 256, (3, 40, 56), dtype=np.uint8)
codes = E2M1[np.stack([w & 15, w >> 4], -1).reshape(3, 40, 112)]
s4 = rng.integers(0, 0x7F, (3, 40, 7), dtype=np.uint8)
t = np.float32(3.3e-4)
scaled = codes * np.repeat(e4m3(s4), 16, -1)
safetensors("modelopt.safetensors", {"l.weight": ("U8", w[0]), "l.weight_scale": ("F8_E4M3", s4[0]),
    "l.weight_scale_2": ("F32", np.array(t)), "l.input_scale": ("F32", np.array(t))})
expect("modelopt.safetensors", "l.weight", scaled[0] * t)
safetensors("compressed.safetensors", {"l.weight_packed": ("U8", w), "l.weight_scale": ("F8_E4M3", s4),
    "l.weight_global_scale": ("F32", np.array([2688.0 / 0.7], np.float32))})
expect("compressed.safetensors", "l.weight_packed", scaled * (np.float32(1) / np.float32(2688.0 / 0.7)))
safetensors("mlx_nvfp4.safetensors", {"l.weight": ("U32", w.view(np.uint32)), "l.scales": ("U8", s4)})
expect("mlx_nvfp4.safetensors", "l.weight", scaled)
w = rng.integers(0, 256, (3, 24, 64), dtype=np.uint8)
s8 = rng.integers(0, 240, (3, 24, 4), dtype=np.uint8)
values = E2M1[np.stack([w & 15, w >> 4], -1).reshape(3, 24, 128)]
values = np.ldexp(values, np.repeat(s8.astype(np.int32) - 127, 32, -1))
blocks = w.reshape(3, 24, 4, 16)
safetensors("gptoss.safetensors", {"e.gate_up_proj_blocks": ("U8", blocks), "e.gate_up_proj_scales": ("U8", s8)})
expect("gptoss.safetensors", "e.gate_up_proj_blocks", values, gate_up=True)
safetensors("mxfp4.safetensors", {"l.weight_packed": ("U8", w), "l.weight_scale": ("U8", s8)})
expect("mxfp4.safetensors", "l.weight_packed", values)
safetensors("mlx_mxfp4.safetensors", {"l.weight": ("U32", w.view(np.uint32)), "l.scales": ("U8", s8)})
expect("mlx_mxfp4.safetensors", "l.weight", values)

# MLX affine.
q = rng.integers(0, 16, (2, 24, 256))
words = along(q, 2).view(np.uint32)
for kind, cast, back in [("F16", np.float16, np.float32), ("BF16", bf16, widen), ("F32", np.float32, np.float32)]:
    for g in (32, 64, 128):
        s, b = (cast(rng.standard_normal((2, 24, 256 // g)).astype(np.float32) * 0.1) for _ in range(2))
        file = f"mlx_{kind}_{g}.safetensors"
        safetensors(file, {"l.weight": ("U32", words), "l.scales": (kind, s), "l.biases": (kind, b)})
        # Rounded once, as a fused multiply-add would.
        exact = q * np.repeat(back(s), g, -1).astype(np.float64) + np.repeat(back(b), g, -1).astype(np.float64)
        expect(file, "l.weight", exact.astype(np.float32))

# Shards.
a, b = (rng.standard_normal((4, 32)).astype(np.float32) for _ in range(2))
safetensors("model-1.safetensors", {"a": ("F32", a)})
safetensors("model-2.safetensors", {"b": ("F16", b.astype(np.float16))})
(out / "model.safetensors.index.json").write_text(
    json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
expect("model.safetensors.index.json", "a", a)
expect("model.safetensors.index.json", "b", b.astype(np.float16))

# A whole model, all its matrices.
if len(sys.argv) > 2:
    for tensor in gguf.GGUFReader(sys.argv[2]).tensors:
        if len(tensor.shape) > 1:
            expect(sys.argv[2], tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type))
(out / "weights.json").write_text(json.dumps(cases))
