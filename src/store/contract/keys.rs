//! Tests the contract of the store of key pages (the encrypted pages with people's keys): pages can be
//! written, read and listed.

use super::engine::OpenKeys;
use std::collections::BTreeSet;

fn page(id: &str, value: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (id.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
}

pub fn written_pages_can_be_read(open: OpenKeys<'_>) {
    let keys = open();
    assert_eq!(keys.read_page(b"a").unwrap(), None);
    keys.write_pages(&[]).unwrap();
    keys.write_pages(&[page("a", "1"), page("b", ""), page("", "nameless")]).unwrap();
    assert_eq!(keys.read_page(b"a").unwrap().unwrap(), b"1");
    assert_eq!(keys.read_page(b"b").unwrap().unwrap(), b"");
    assert_eq!(keys.read_page(b"").unwrap().unwrap(), b"nameless");
    keys.write_pages(&[page("a", "2"), (b"b".to_vec(), None), (b"never".to_vec(), None)]).unwrap();
    assert_eq!(keys.read_page(b"a").unwrap().unwrap(), b"2");
    assert_eq!(keys.read_page(b"b").unwrap(), None);
    let large = vec![5; 300_000];
    keys.write_pages(&[(b"large".to_vec(), Some(large.clone()))]).unwrap();
    assert_eq!(keys.read_page(b"large").unwrap().unwrap(), large);
}

pub fn pages_are_listed_by_prefix(open: OpenKeys<'_>) {
    let keys = open();
    let pages: Vec<_> = ["s1", "s2", "s3", "t1", "k", "n"].iter().map(|id| page(id, id)).collect();
    keys.write_pages(&pages).unwrap();
    let scan = |prefix: &str, after: Option<&str>, count| {
        let found = keys.scan_pages(prefix.as_bytes(), after.map(str::as_bytes), count).unwrap();
        let check = |(id, value): (Vec<u8>, Vec<u8>)| {
            assert_eq!(id, value);
            String::from_utf8(id).unwrap()
        };
        found.into_iter().map(check).collect::<Vec<_>>()
    };
    assert_eq!(scan("s", None, 10), ["s1", "s2", "s3"]);
    assert_eq!(scan("s", Some("s1"), 1), ["s2"]);
    assert_eq!(scan("s", Some("a"), 10), ["s1", "s2", "s3"]);
    assert_eq!(scan("s", Some("s3"), 10), Vec::<String>::new());
    assert_eq!(scan("", None, 10).into_iter().collect::<BTreeSet<_>>().len(), 6);
    assert_eq!(keys.count_pages(b"s").unwrap(), 3);
    assert_eq!(keys.count_pages(b"").unwrap(), 6);
    assert_eq!(keys.count_pages(b"x").unwrap(), 0);
}
