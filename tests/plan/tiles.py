"""A block in which every input of its tile decides an output: plans must be right for it, whatever a kernel computes.

Values are integers modulo 2**64. An output of the convolution is a hash of all inputs of its tile and of its place in the tile;
pool and same-map norm are hashes of their inputs. A correct result can't depend on anything that it shouldn't.
"""

from __future__ import annotations

import numpy as np

from dcnn_fast.networks import Pool, SameMapNorm


def mixed(x):
    """A bijection of 64-bit integers in which every bit of the input matters."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def run_block(sources, regions, block, tile, poison):
    """The outputs of a block's regions, [images, rows, cols] uint64 each. sources: likewise. Values that no store covers are
    random numbers of the generator `poison`.
    """
    outputs = [poison.integers(0, 2**64, shape, dtype=np.uint64) for shape in regions.outputs]
    for region in regions:
        conv = _conv(sources[region.source][region.image], region, block, tile)
        if block.order == "conv-norm-pool" and isinstance(block.norm, SameMapNorm):
            conv = _same_map(conv, block.norm.size)
        for piece in region.pieces:
            results = _pooled(conv, piece, block.pool or Pool(1, 1))
            if block.order == "conv-pool-norm" and isinstance(block.norm, SameMapNorm):
                results = _same_map(results, block.norm.size)
            for s in piece.stores:
                kept = results[s.skip_top : s.skip_top + s.height, s.skip_left : s.skip_left + s.width]
                outputs[s.output][s.image, s.out_top : s.out_top + s.height, s.out_left : s.out_left + s.width] = kept
    return outputs


def _conv(image, region, block, tile):
    """[rows, cols] of a region, in whole tiles of the lattice; pixels outside the region's window read as zero."""
    side, stride = tile.side, block.stride
    skips = region.lattice_top % side, region.lattice_left % side
    tiles = [-(-(skip + count) // side) for skip, count in zip(skips, (region.rows, region.cols), strict=True)]
    reach = stride * (side - 1) + tile.size
    corner = region.top - skips[0] * stride, region.left - skips[1] * stride
    patch = np.zeros([(count - 1) * side * stride + reach for count in tiles], np.uint64)
    window = (region.window_top, region.window_height), (region.window_left, region.window_width)
    inside, pixels = [], []
    for (start, extent), first, count in zip(window, corner, patch.shape, strict=True):
        lo, hi = max(start, first), min(start + extent, first + count)
        inside.append(slice(lo - first, max(lo, hi) - first))
        pixels.append(slice(lo, max(lo, hi)))
    patch[tuple(inside)] = mixed(image[tuple(pixels)] + np.uint64(1))
    for axis in (0, 1):  # the hash is the product of one hash per axis
        factors = mixed(np.arange(1, reach + 1, dtype=np.uint64) + np.uint64(1000 * axis))
        ends = (tiles[axis] - 1) * side * stride + 1
        patch = np.moveaxis(patch, axis, 0)
        patch = sum(patch[i : i + ends : side * stride] * factor for i, factor in enumerate(factors))
        patch = np.moveaxis(patch, 0, axis)
    places = mixed(np.arange(side * side, dtype=np.uint64) + np.uint64(7)).reshape(side, side)
    outputs = mixed(np.kron(patch, np.ones((side, side), np.uint64)) + np.tile(places, tiles))
    return outputs[skips[0] : skips[0] + region.rows, skips[1] : skips[1] + region.cols]


def _pooled(conv, piece, pool):
    result = np.zeros((piece.rows, piece.cols), np.uint64)
    for i in range(piece.rows):
        for j in range(piece.cols):
            top, left = piece.top + i * pool.stride, piece.left + j * pool.stride
            result[i, j] = mixed(conv[top : top + pool.size, left : left + pool.size]).sum()
    return result


def _same_map(x, size):
    before = size // 2
    padded = np.pad(x, ((before, size), (before, size)))
    total = x * np.uint64(3)
    for i in range(size):
        for j in range(size):
            total = total + padded[i : i + x.shape[0], j : j + x.shape[1]]
    return mixed(total)
