//! Lists that AWS returns in pages, each read up to its limit. Callers that need the whole list check [`Pages::end`], or use [`within`] or
//! [`all`]; the others use the pages that were read.
//!
//! The SDK's paginators do not fit: they accept no interceptor, so [`super::calls`] could not count their calls.

use std::fmt;
use std::future::Future;

use super::error::Failure;
use super::kind::Service;
use crate::provider::ProviderError;

/// The lists that AWS returns in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Also the changes of one change set.
    ChangeSets,
    NatGateways,
    PrefixListEntries,
    PrefixLists,
    /// Resources of the stack that CloudFormation's drift detection shows.
    ResourceDrifts,
    RouteTables,
    StackEvents,
    StackResources,
    Stacks,
    Subnets,
    Vpcs,
}

impl List {
    /// Returns how many pages are read, and what the list is called in errors.
    const fn limit(self) -> (usize, &'static str) {
        match self {
            Self::ChangeSets => (20, "change sets or changes"),
            Self::NatGateways => (10, "NAT gateways"),
            // A list has at most 1,000.
            Self::PrefixListEntries => (10, "entries of a prefix list"),
            Self::PrefixLists => (10, "prefix lists"),
            // 100 each: a stack has at most 500 resources.
            Self::ResourceDrifts => (5, "resources with drift"),
            Self::RouteTables => (50, "route tables"),
            // 100 each: an operation on 500 resources writes about 2,000 events.
            Self::StackEvents => (30, "stack events"),
            Self::StackResources => (10, "stack resources"),
            // About 100 each: CloudFormation's default quota is 2,000 stacks.
            Self::Stacks => (500, "stacks"),
            Self::Subnets => (10, "subnets"),
            Self::Vpcs => (10, "VPCs"),
        }
    }
}

/// The position in a list.
#[derive(Debug)]
pub struct Pages {
    list: List,
    left: usize,
    /// The token of the next page, None for the first one. None after the last page.
    next: Option<Option<String>>,
}

impl Pages {
    pub fn of(list: List) -> Self {
        Self::resume(list, None)
    }

    /// Starts at the page with this token.
    pub fn resume(list: List, token: Option<String>) -> Self {
        Self {
            list,
            left: list.limit().0,
            next: Some(token),
        }
    }

    /// Returns the token with which to read the next page; None after the last page and at the limit.
    pub fn turn(&mut self) -> Option<Option<String>> {
        self.left = self.left.checked_sub(1)?;
        self.next.take()
    }

    /// Stores the token that came with a page. EC2 may end a list with an empty token.
    pub fn note(&mut self, token: Option<String>) {
        self.next = token.filter(|token| !token.is_empty()).map(Some);
    }

    /// Returns the token of the next page, None after the last one.
    pub fn token(&self) -> Option<String> {
        self.next.clone().flatten()
    }

    /// Returns an error unless the list was read to its end.
    pub fn end(&self) -> Result<(), TooLong> {
        self.next
            .as_ref()
            .map_or(Ok(()), |_| Err(TooLong(self.list)))
    }
}

/// A list with more pages than are read: longer than any that a cluster needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong(List);

impl TooLong {
    pub fn error(self, code: &'static str, remedy: &str) -> ProviderError {
        ProviderError::after_fix(code, format!("{self}; {remedy}"))
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (most, name) = self.0.limit();
        write!(f, "there are more than {most} pages of {name}")
    }
}

/// Reads a whole list or fails: a part of a list would look as if the other items did not exist. The inner error: the list is too long.
///
/// # Errors
/// If a page cannot be read.
pub async fn within<T, F>(
    list: List,
    mut page: impl FnMut(Option<String>) -> F,
) -> Result<Result<Vec<T>, TooLong>, Failure>
where
    F: Future<Output = Result<(Vec<T>, Option<String>), Failure>>,
{
    let (mut all, mut pages) = (Vec::new(), Pages::of(list));
    while let Some(token) = pages.turn() {
        let (items, after) = page(token).await?;
        all.extend(items);
        pages.note(after);
    }
    Ok(pages.end().map(|()| all))
}

/// Reads a whole list.
///
/// # Errors
/// If a page cannot be read, or the list is too long.
pub async fn all<T, F>(
    service: Service,
    action: &'static str,
    list: List,
    page: impl FnMut(Option<String>) -> F,
) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<(Vec<T>, Option<String>), Failure>>,
{
    let whole = within(list, page).await?;
    whole.map_err(|long| Failure::too_long(service, action, long.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a list with this many pages of one item each. The last page has an empty token.
    async fn read(pages: usize) -> Result<Vec<usize>, Failure> {
        let list = List::ResourceDrifts;
        all(Service::Ec2, "DescribeSubnets", list, |token| async move {
            let at = token.map_or(0, |token| token.parse().expect("a number"));
            let after = if at + 1 < pages {
                (at + 1).to_string()
            } else {
                String::new()
            };
            Ok((vec![at], Some(after)))
        })
        .await
    }

    #[tokio::test]
    async fn a_list_is_read_whole_or_not_at_all() {
        assert_eq!(read(1).await.expect("a list"), [0]);
        assert_eq!(read(5).await.expect("a list"), [0, 1, 2, 3, 4]);
        let failure = read(6).await.expect_err("too many pages");
        assert_eq!(failure.code, "TooManyPages");
        assert_eq!(
            failure.text,
            "there are more than 5 pages of resources with drift"
        );
    }

    #[test]
    fn pages_end_at_their_limit_or_with_the_last_token() {
        let mut pages = Pages::resume(List::RouteTables, Some("7".to_owned()));
        assert_eq!(pages.turn(), Some(Some("7".to_owned())));
        pages.note(None);
        assert_eq!((pages.turn(), pages.end()), (None, Ok(())));
        let mut pages = Pages::of(List::RouteTables);
        let mut read = 0;
        while pages.turn().is_some() {
            read += 1;
            pages.note(Some("more".to_owned()));
        }
        assert_eq!((read, pages.token()), (50, Some("more".to_owned())));
        let long = pages.end().expect_err("more than 50 pages");
        let error = long.error("TooManyRouteTables", "delete some").to_string();
        assert!(
            error.contains("more than 50 pages of route tables; delete some"),
            "{error}"
        );
    }
}
