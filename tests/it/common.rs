//! A client of the fake service, as a mount would have it.
use fake_1fichier::Fake;
use fichierfs::api::scheduler::{Rates, Scheduler};
use fichierfs::api::{ApiUrl, Client, Settings};
use fichierfs::secret::ApiKey;
use fichierfs::util::clock::Clock;

/// A client of `fake` with nothing persisted, on `clock`.
pub(crate) fn client(fake: &Fake, clock: Clock) -> Client {
    let settings = Settings {
        api_url: ApiUrl::parse(&fake.api_url()).unwrap(),
        clock,
        ..Settings::new(ApiKey::parse(&fake.key()).unwrap())
    };
    Client::new(settings, Scheduler::new(clock, Rates::default(), None)).unwrap()
}

/// Fails when the client made a call that could have locked the account.
pub(crate) fn assert_well_behaved(fake: &Fake) {
    let violations = fake.violations();
    assert!(
        violations.is_empty(),
        "{} violations, first: {:?}",
        violations.len(),
        violations[0]
    );
}
