//! Answers that come in pages, read whole or not at all: half of a list looks as if the rest were gone.

use std::future::Future;

use super::error::Failure;
use super::kind::Service;

/// Reads all pages of a list, each by the token of the one before.
///
/// # Errors
/// When a page cannot be read, or there are more than `most`.
pub async fn all<T, F>(
    service: Service,
    action: &'static str,
    most: usize,
    mut page: impl FnMut(Option<String>) -> F,
) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<(Vec<T>, Option<String>), Failure>>,
{
    let (mut all, mut next) = (Vec::new(), None);
    for _ in 0..most {
        let (items, after) = page(next.take()).await?;
        all.extend(items);
        next = after.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(all);
        }
    }
    Err(Failure::too_many_pages(service, action, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many pages as there are, of one item each.
    async fn read(pages: usize) -> Result<Vec<usize>, Failure> {
        all(Service::Ec2, "DescribeSubnets", 3, |token| async move {
            let at = token.map_or(0, |token| token.parse().expect("a number"));
            let after = (at + 1 < pages).then(|| (at + 1).to_string());
            Ok((vec![at], after))
        })
        .await
    }

    #[tokio::test]
    async fn a_list_is_read_whole_or_not_at_all() {
        assert_eq!(read(1).await.expect("a list"), [0]);
        assert_eq!(read(3).await.expect("a list"), [0, 1, 2]);
        let failure = read(4).await.expect_err("too many pages");
        assert!(failure.text.contains("more than 3 pages"), "{failure:?}");
    }
}
