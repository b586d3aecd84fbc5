//! Ranks texts by how well they fit a question: lexically with BM25. The code is pure and knows nothing of
//! consent: its caller passes only what may be used.

pub mod calendar;
pub mod choose;
pub mod fact;
pub mod language;
pub mod lexical;
pub mod neighbors;
pub mod rank;
pub mod word_reader;
