//! An iterator whose items are made ahead, on a thread of their own.

use std::sync::mpsc::sync_channel;

/// Lets `work` take the items of `items`, of which up to `count` are made before they are taken; with 0, each when it is.
pub(crate) fn ahead<T: Send, R>(
    items: impl Iterator<Item = T> + Send,
    count: usize,
    work: impl FnOnce(&mut dyn Iterator<Item = T>) -> R,
) -> R {
    if count == 0 {
        return work(&mut { items });
    }
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(count);
        // Nobody takes an item any more: the work is over.
        scope.spawn(move || items.map(|item| send.send(item)).take_while(Result::is_ok).for_each(drop));
        work(&mut receive.into_iter())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_in_order_and_the_rest_is_left() {
        for count in [0, 1, 5] {
            let some: Vec<i32> = ahead(0..1_000_000, count, |items| items.take(10).collect());
            assert_eq!(some, (0..10).collect::<Vec<_>>());
            assert_eq!(ahead(0..100, count, |items| items.sum::<i32>()), 4950);
        }
    }
}
