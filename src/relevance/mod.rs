//! Ranks candidates (attributes) by how well they fit a question (the text or vector of a request): by
//! words with BM25, and by the cosine of embeddings. The code is pure and knows nothing of consent: its
//! caller passes only what may be used.

pub mod calendar;
pub mod candidate;
pub mod choose;
pub mod embedding;
pub mod language;
pub mod lexical;
pub mod neighbors;
pub mod rank;
pub mod word_reader;
