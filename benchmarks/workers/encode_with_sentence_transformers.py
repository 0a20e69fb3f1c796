"""Encode a corpus into a Faiss directory with sentence-transformers: CORPUS.jsonl OUTPUT fp32|bf16."""

import json
import sys
from pathlib import Path

import faiss
import torch
from sentence_transformers import SentenceTransformer

from benchmarks.processes import MINILM

corpus, output, precision = sys.argv[1:]
with open(corpus, encoding="utf-8") as stream:
    documents = [json.loads(line) for line in stream]
options = {"dtype": torch.bfloat16} if precision == "bf16" else {}
model = SentenceTransformer(MINILM, device="cpu", model_kwargs=options)
model.max_seq_length = 256
vectors = model.encode([f"{d['title']} {d['text']}" for d in documents], show_progress_bar=False)
index = faiss.IndexFlatIP(vectors.shape[1])
index.add(vectors)
Path(output).mkdir()
faiss.write_index(index, f"{output}/index")
Path(output, "docid").write_text("".join(f"{d['id']}\n" for d in documents), encoding="utf-8")
