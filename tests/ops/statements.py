"""Independent statements of the operations: numpy loops written from docs/cuda-convnet.md, sharing no code with the package."""

from __future__ import annotations

import math

import numpy as np
import torch


def of_images(statement, x, *arguments):
    """Apply a statement of one image [C, H, W] to every image of the tensor x [N, C, H, W]; returns a list of one tensor."""
    return [torch.from_numpy(np.stack([statement(image, *arguments) for image in x.numpy()]))]


def conv_relu(x, weight, bias, stride, padding, groups, up, relu=True):
    """x: [C, H, W] -> [F, H', W'], one output at a time; pixels outside the image count as zero."""
    _, height, width = x.shape
    filters, taps, size, _ = weight.shape
    rounding = math.ceil if up else math.floor
    rows, cols = (1 + rounding((2 * padding + extent - size) / stride) for extent in (height, width))
    out = np.zeros((filters, rows, cols))
    for f, i, j in np.ndindex(out.shape):
        first = (f // (filters // groups)) * taps
        total = 0.0 if bias is None else bias[f]
        for c, a, b in np.ndindex(taps, size, size):
            y, z = i * stride - padding + a, j * stride - padding + b
            if 0 <= y < height and 0 <= z < width:
                total += x[first + c, y, z] * weight[f, c, a, b]
        out[f, i, j] = max(total, 0.0) if relu else total
    return out


def max_pool(x, size, stride, up, pick=np.max):
    """x: [C, H, W]; the last window may hang over the edge when rounding up, and is clipped."""
    rounding = math.ceil if up else math.floor
    rows, cols = (1 + rounding((extent - size) / stride) for extent in x.shape[1:])
    out = np.zeros((x.shape[0], rows, cols))
    for c, i, j in np.ndindex(out.shape):
        out[c, i, j] = pick(x[c, i * stride : i * stride + size, j * stride : j * stride + size])
    return out


def max_pool_gradient(x, grad, size, stride, ties):
    """x: [C, H, W], grad: the result's gradient -> x's gradient: a window passes its own to all its maxima or to the first."""
    result = np.zeros_like(x)
    for c, i, j in np.ndindex(grad.shape):
        window = x[c, i * stride : i * stride + size, j * stride : j * stride + size]
        largest = np.argwhere(window == window.max())
        for a, b in largest if ties == "all" else largest[:1]:
            result[c, i * stride + a, j * stride + b] += grad[c, i, j]
    return result


def cross_map_norm(x, size, scale, power, k):
    """x: [C, H, W]; the window of map f is f - size//2 ... f - size//2 + size - 1."""
    out = np.empty_like(x)
    for f in range(x.shape[0]):
        low, high = max(0, f - size // 2), min(x.shape[0], f - size // 2 + size)
        out[f] = x[f] * (k + scale / size * (x[low:high] ** 2).sum(axis=0)) ** -power
    return out


def same_map_norm(x, size, scale, power):
    """x: [C, H, W]; a size x size window that starts size//2 above and left of the pixel, clipped."""
    out = np.empty_like(x)
    for c, i, j in np.ndindex(x.shape):
        top, left = i - size // 2, j - size // 2
        window = x[c, max(0, top) : top + size, max(0, left) : left + size]
        out[c, i, j] = x[c, i, j] * (1 + scale / size**2 * (window**2).sum()) ** -power
    return out


def norm(x, norm):
    """Either norm; only the cross-map norm has k."""
    if hasattr(norm, "k"):
        return cross_map_norm(x, norm.size, norm.scale, norm.power, norm.k)
    return same_map_norm(x, norm.size, norm.scale, norm.power)


def block(x, weight, bias, *, stride, padding, groups, rounding, pool_, norm_, order):
    """One image [C, H, W] through a whole block. pool_: size, stride and max or avg."""
    up = rounding == "up"
    y = conv_relu(x, weight, bias, stride, padding, groups, up, not order.endswith("relu"))
    stages = {
        "pool": (lambda v: max_pool(v, *pool_[:2], up, np.mean if pool_[2] == "avg" else np.max)) if pool_ else None,
        "norm": (lambda v: norm(v, norm_)) if norm_ else None,
        "relu": lambda v: np.maximum(v, 0),
    }
    for name in order.split("-")[1:]:
        if stages[name]:
            y = stages[name](y)
    return y


def head(features, weights, biases, label_weight, label_bias, counts, window_of):
    """Each view's probabilities, and their mean and population deviation over each image's views, one at a time."""
    views = []
    for view in range(sum(counts)):
        joined = []
        for x, weight, bias, rows in zip(features, weights, biases, window_of, strict=True):
            row = x[view if rows is None else rows[view]]
            joined += [max(float((one * row).sum() + offset), 0.0) for one, offset in zip(weight, bias, strict=True)]
        logits = [float((one * np.array(joined)).sum() + offset) for one, offset in zip(label_weight, label_bias, strict=True)]
        powers = np.exp(np.array(logits) - max(logits))
        views.append(powers / powers.sum())
    means, deviations, first = [], [], 0
    for count in counts:
        own = np.array(views[first : first + count])
        means.append(own.sum(axis=0) / count)
        deviations.append(np.sqrt(((own - means[-1]) ** 2).sum(axis=0) / count))
        first += count
    return np.array(views), np.array(means), np.array(deviations)


def update(weight, gradient, increment, rate, momentum, decay):
    """cuda-convnet's Weights::update, one value at a time, for the gradient of a loss: the new weight and increment."""
    weight, increment = weight.copy(), increment.copy()
    if rate > 0:
        for at in np.ndindex(weight.shape):
            increment[at] = momentum * increment[at] - rate * gradient[at]
            increment[at] += -decay * rate * weight[at]
            weight[at] += increment[at]
    return weight, increment
