"""Losses that the scripts import."""


def kullback_leibler(p, q):
    difference = p.log() - q.log()  # born here
    return (p * difference).sum(-1).mean()


def backward(loss, scale=1.0):
    (scale * loss).backward()
