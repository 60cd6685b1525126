//! How many connections there are, in all and of each address. A place is a value; drop gives it back.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Counts = HashMap<IpAddr, usize>;

/// The places of all connections.
pub(super) struct Guests {
    places: Arc<Semaphore>,
    most_of_one: usize,
    counts: Arc<Mutex<Counts>>,
}

/// A place among the connections of an address.
pub(super) struct Guest {
    address: IpAddr,
    counts: Arc<Mutex<Counts>>,
    _place: Option<OwnedSemaphorePermit>,
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guests {
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), most_of_one, counts: Arc::default() }
    }

    /// Waits until there is a place for anybody. Nothing is accepted meanwhile. `None` is never seen: the places are not closed.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Gives the place to a connection of this address, unless it has as many as are allowed.
    pub(super) fn seat(&self, address: IpAddr, place: Option<OwnedSemaphorePermit>) -> Option<Guest> {
        let mut counts = lock(&self.counts);
        let count = counts.entry(address).or_default();
        if *count >= self.most_of_one {
            return None;
        }
        *count += 1;
        Some(Guest { address, counts: Arc::clone(&self.counts), _place: place })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn an_address_that_has_its_share_leaves_room_for_others() {
        let guests = Guests::new(3, 1);
        let [one, other] = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from([127, 0, 0, 2])];
        let first = guests.seat(one, guests.place().await);
        assert!(first.is_some() && guests.seat(one, guests.place().await).is_none());
        assert!(guests.seat(other, guests.place().await).is_some());
        drop(first);
        assert!(guests.seat(one, guests.place().await).is_some());
        assert_eq!(guests.places.available_permits(), 3, "places of refused and closed connections are free");
    }
}
