//! Page sizes and page tokens. Every list in the API is returned in pages, with the fields `page_size`,
//! `page_token` and `next_page_token`.

use crate::api::status;
use crate::app::Room;
use prost::Message;
use std::str::FromStr;
use tonic::Status;

/// The largest number of items on a page, and the number if the request names none.
const PAGE_ITEMS_MAX: u32 = 1_000;

/// The number of items on a page, from `page_size`.
///
/// # Errors
/// The size is above 1,000.
pub fn size(page_size: u32) -> Result<usize, Status> {
    match page_size {
        0 => Ok(usize::try_from(PAGE_ITEMS_MAX).unwrap_or(usize::MAX)),
        1..=PAGE_ITEMS_MAX => Ok(usize::try_from(page_size).unwrap_or(usize::MAX)),
        _ => Err(status::invalid("page_size", "must be 1 to 1,000, or 0 for 1,000")),
    }
}

/// Where a page starts, from `page_token`. `None` for the first page.
///
/// # Errors
/// The token does not have the form of a `next_page_token`.
pub fn start<T: FromStr>(page_token: &str) -> Result<Option<T>, Status> {
    if page_token.is_empty() {
        return Ok(None);
    }
    let wrong = |_| status::invalid("page_token", "must be the `next_page_token` of the previous answer");
    page_token.parse().map(Some).map_err(wrong)
}

/// The `next_page_token` for where the next page starts. Empty on the last page.
pub fn token<T: ToString>(next: Option<T>) -> String {
    next.map(|next| next.to_string()).unwrap_or_default()
}

/// One page of a list that is in memory as a whole, and its `next_page_token`. The items are sorted by a
/// unique key, and the token is the key of the page's last item. So if the list changes between two pages,
/// the items that stay are neither repeated nor skipped.
///
/// # Errors
/// As [`size`].
pub fn page<T: Message>(
    mut items: Vec<T>,
    page_size: u32,
    page_token: &str,
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, String), Status> {
    let mut room = Room::new(size(page_size)?);
    items.sort_by_cached_key(&key);
    items.retain(|item| page_token.is_empty() || key(item).as_str() > page_token);
    let all = items.len();
    items.truncate(items.iter().take_while(|item| room.take(item.encoded_len())).count());
    let next = items.last().filter(|_| items.len() < all).map(key);
    Ok((items, token(next)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_page_size_is_at_most_1000_and_0_means_1000() {
        assert_eq!([0, 1, 1_000].map(|page_size| size(page_size).unwrap()), [1_000, 1, 1_000]);
        assert_eq!(size(1_001).unwrap_err().code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn a_page_token_comes_from_an_answer() {
        assert_eq!(start::<u64>("").unwrap(), None);
        assert_eq!(start::<u64>(&token(Some(7))).unwrap(), Some(7));
        assert_eq!(start::<u64>("seven").unwrap_err().code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn pages_contain_each_item_once_in_order_while_the_list_changes() {
        let mut list: Vec<String> = ["b", "d", "a", "c", "e"].map(str::to_owned).to_vec();
        let next = |list: &[String], token: &str| page(list.to_vec(), 2, token, String::clone).unwrap();
        let (first, token) = next(&list, "");
        assert_eq!(first, ["a", "b"]);
        list.retain(|item| item != "b");
        let (second, token) = next(&list, &token);
        assert_eq!(second, ["c", "d"]);
        assert_eq!(next(&list, &token), (vec!["e".to_owned()], String::new()));
    }

    #[test]
    fn a_page_ends_before_it_is_too_large() {
        let list: Vec<String> = (0..5).map(|number| format!("{number}{}", "x".repeat(1 << 20))).collect();
        let (first, token) = page(list.clone(), 0, "", |item| item[..1].to_owned()).unwrap();
        assert_eq!((first.len(), token.as_str()), (1, "0"));
    }
}
