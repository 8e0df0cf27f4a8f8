"""The kinds of chores, by what stands in their rows; the subject of each is the id of what it names."""

from __future__ import annotations

INDEX_VERSION = "index_version"
PREPARE_JOB = "prepare_job"
"""Make a job's plan."""
PURGE_FILE = "purge_file"
"""Free the bytes of a deleted file."""
PURGE_DATASET = "purge_dataset"
"""Free the indexes and frames of a deleted data set."""
PURGES = (PURGE_FILE, PURGE_DATASET)
"""Those that free bytes which nobody asks for any more: never given up for good."""
