"""Alarms on the tune half of the corpus; written by `make calibrate`, do not edit.

Of each code, level and feeling of the rule: how many named a symptom of a fault that did harm, and
how many there were.
"""

from __future__ import annotations

from collections.abc import Mapping

COUNTS: Mapping[tuple[str, str, float], tuple[int, int]] = {
    ("HW101", "error", 0.95): (16, 25),
    ("HW101", "warning", 0.60): (1, 1),
    ("HW101", "warning", 0.70): (8, 13),
    ("HW101", "warning", 0.80): (25, 25),
    ("HW102", "error", 0.90): (35, 36),
    ("HW102", "warning", 0.60): (7, 7),
    ("HW102", "warning", 0.80): (13, 13),
    ("HW103", "error", 0.95): (72, 74),
    ("HW103", "warning", 0.70): (6, 9),
    ("HW104", "error", 0.90): (14, 15),
    ("HW104", "warning", 0.60): (16, 16),
    ("HW105", "error", 0.95): (12, 12),
    ("HW105", "warning", 0.70): (2, 2),
    ("HW105", "warning", 0.85): (20, 20),
    ("HW105", "warning", 0.90): (30, 30),
    ("HW106", "error", 0.95): (7, 7),
    ("HW106", "warning", 0.95): (6, 6),
    ("HW107", "error", 0.85): (6, 14),
    ("HW201", "error", 0.85): (22, 22),
    ("HW201", "error", 0.95): (33, 34),
    ("HW202", "error", 0.80): (35, 35),
    ("HW202", "error", 0.90): (119, 119),
    ("HW202", "warning", 0.80): (9, 9),
    ("HW203", "error", 0.90): (20, 20),
    ("HW203", "warning", 0.80): (22, 22),
    ("HW301", "error", 0.95): (103, 103),
    ("HW302", "error", 0.85): (2, 2),
    ("HW302", "error", 0.95): (10, 11),
    ("HW302", "warning", 0.85): (2, 2),
    ("HW302", "warning", 0.95): (2, 2),
    ("HW303", "warning", 0.80): (3, 3),
}
