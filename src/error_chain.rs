//! The causes of an error. The outermost error of a library often says only that a call failed.

use std::error::Error;

/// The maximum number of errors of one chain: a source may, by mistake, refer to itself.
const MAX: usize = 16;

/// Returns an error and its sources, the outermost first.
pub fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    fn source<'a>(error: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        (*error).source()
    }
    std::iter::successors(Some(error), source).take(MAX)
}

/// Returns the texts of an error and its sources, without those that an outer one repeats.
pub fn text(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in chain(error).map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
