"""Works with a hub through the huggingface_hub package; prints its answer as JSON.

The endpoint, the cache and the token come from the environment, as they do for
any program that uses the package.
"""

import json
import sys

from huggingface_hub import HfApi, get_token, login, scan_cache_dir, snapshot_download
from huggingface_hub.utils import logging

logging.set_verbosity_error()


def download(repo, repo_type="model", patterns="", local_dir=None):
    patterns = patterns.split(",") if patterns else None
    return snapshot_download(repo, repo_type=repo_type, allow_patterns=patterns, local_dir=local_dir, max_workers=2)


def offline(repo, patterns=""):
    patterns = patterns.split(",") if patterns else None
    return snapshot_download(repo, allow_patterns=patterns, local_files_only=True)


def upload(folder, repo, repo_type="model"):
    api = HfApi()
    api.create_repo(repo, repo_type=repo_type, exist_ok=True)
    return str(api.upload_folder(folder_path=folder, repo_id=repo, repo_type=repo_type))


def scan():
    info = scan_cache_dir()
    repos = [
        {
            "id": r.repo_id,
            "type": r.repo_type,
            "bytes": r.size_on_disk,
            "files": r.nb_files,
            "path": str(r.repo_path),
            "revisions": [
                {
                    "commit": v.commit_hash,
                    "refs": sorted(v.refs) or None,
                    "bytes": v.size_on_disk,
                    "files": v.nb_files,
                    "path": str(v.snapshot_path),
                }
                for v in sorted(r.revisions, key=lambda v: v.commit_hash)
            ],
        }
        for r in sorted(info.repos, key=lambda r: r.repo_path)
    ]
    return {
        "bytes": info.size_on_disk,
        "repos": repos,
        "warnings": [str(w) for w in info.warnings],
        "incomplete": sorted(str(f.file_path) for f in info.incomplete_files),
    }


def delete(commit):
    scan_cache_dir().delete_revisions(commit).execute()


def whoami():
    return HfApi().whoami()["name"]


def sign_in(token):
    login(token=token, skip_if_logged_in=False)
    return get_token()


if __name__ == "__main__":
    commands = {f.__name__: f for f in (download, offline, upload, scan, delete, whoami, sign_in)}
    print(json.dumps(commands[sys.argv[1]](*sys.argv[2:])))
