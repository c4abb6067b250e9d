use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};

use super::*;

/// A certificate that signs others, valid until 2081.
const ONE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBczCCARmgAwIBAgIUc4NOrGlEc0wQS9KWyRQ/wYN2U2owCgYIKoZIzj0EAwIw
DjEMMAoGA1UEAwwDb25lMCAXDTI2MTEyNDAwMjYzNFoYDzIwODEwODI3MDAyNjM0
WjAOMQwwCgYDVQQDDANvbmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATPJpBT
uwFWL3Tv8icxH3W3ikPmM7U9WwbeFYWCammKahW0EDGyYEud+BaTIV0F/y9SIpUY
T2oKq51CXu94WS1Yo1MwUTAdBgNVHQ4EFgQUFovauRrxamborPYB6bZVNTt0ktIw
HwYDVR0jBBgwFoAUFovauRrxamborPYB6bZVNTt0ktIwDwYDVR0TAQH/BAUwAwEB
/zAKBggqhkjOPQQDAgNIADBFAiEAlY6/jj9pxDu6xZ+OuVXI/SiE8mYVNO57RZM9
8wCHw5ACIC6SqTB7vfgvv+UrYpQFeghvN76ygjyJzLohhBi7kjA2
-----END CERTIFICATE-----
";

/// Another one, valid until 2029.
const TWO: &str = "\
-----BEGIN CERTIFICATE-----
MIIBcDCCARegAwIBAgIUfK1rbNlC+8O9CG6M81xUxrZ9vnUwCgYIKoZIzj0EAwIw
DjEMMAoGA1UEAwwDdHdvMB4XDTI2MTEyNDAwMjYzNFoXDTI5MDgyMDAwMjYzNFow
DjEMMAoGA1UEAwwDdHdvMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZ28d6xUg
KVRI3UyswLDYMuaHennCzHWecRH1z6cNlYBEr+XziZcn0n07S9K3eKN0SEUbvY7n
sCh0BMmpP3qaEKNTMFEwHQYDVR0OBBYEFHyDbyJuE+ZSZdoZGzHIUSY0OgDjMB8G
A1UdIwQYMBaAFHyDbyJuE+ZSZdoZGzHIUSY0OgDjMA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDRwAwRAIgaI/w2VGeRyK86Gh1yxDjZbrRnl5b71vsBBSrnVx8
KkMCIAFKo0Q5OPnejOgQDB2pW9YIoXznV4hLbDIwOBcr1Ec6
-----END CERTIFICATE-----
";

/// A client's, signed by the first, valid until 2054.
const CLIENT: &str = "\
-----BEGIN CERTIFICATE-----
MIIBmTCCAT+gAwIBAgIUEHo/f0WWu3Kzq8CBnXwABPmVbEkwCgYIKoZIzj0EAwIw
DjEMMAoGA1UEAwwDb25lMCAXDTI2MTEyNDAwMjYzNFoYDzIwNTQwNDExMDAyNjM0
WjAQMQ4wDAYDVQQDDAVoZXJvbjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFuK
IqqwR4alziaoE6rMRC3viGIh+bp54PpzKumba79RZh3K7mChBCLyiWbn5n6lFN5c
NBvIdF2u5xDgkDOizlGjdzB1MAwGA1UdEwEB/wQCMAAwEwYDVR0lBAwwCgYIKwYB
BQUHAwIwEAYDVR0RBAkwB4IFaGVyb24wHQYDVR0OBBYEFEQBdWuhUSAKzIbdjR8+
WbXaGHyUMB8GA1UdIwQYMBaAFBaL2rka8Wpm6Kz2Aem2VTU7dJLSMAoGCCqGSM49
BAMCA0gAMEUCIQC3Z+4jL+kV+60mt9FDJlBrTy9eJzds/NAOvuvxcxGp4wIgQG5q
VJI6PbOcL3Db3M/JcI9rdreJiXAwsgXEdJAyxwA=
-----END CERTIFICATE-----
";

fn authority(pems: &[&str]) -> Arc<Authority> {
    let pem = pems.concat().replace('\n', "\n    ");
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData:\n  ca.crt: |\n    {pem}\n"
    );
    let listing = assemble([&read_file(&FilePath::standalone("a.yaml"), &text)]);
    Arc::new(Authority::read(&listing.resources[0]).unwrap())
}

fn proof(authority: Arc<Authority>) -> ClientProof {
    let chain = CertificateDer::pem_slice_iter(CLIENT.as_bytes()).map(Result::unwrap).collect();
    ClientProof::new(authority, None, chain)
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

#[test]
fn another_authority_is_asked_once_until_a_date() {
    let proof = proof(authority(&[ONE]));
    let both = authority(&[ONE, TWO]);
    let end = both.validity().unwrap().not_after;
    assert!(proof.is_good_for(&both, at(end - 9)));
    let until = || proof.verdict.lock().unwrap().as_ref().unwrap().until;
    assert_eq!(until(), end + 1);
    // What it has said stands, whatever it would say now.
    proof.verdict.lock().unwrap().as_mut().unwrap().is_good = false;
    assert!(!proof.is_good_for(&both, at(end)));
    assert!(proof.is_good_for(&both, at(end + 1)));
    assert!(until() > end + 1);
    // Others have said nothing yet.
    assert!(!proof.is_good_for(&authority(&[TWO]), at(end)));
    assert!(proof.is_good_for(&both, at(end)));
    assert!(proof.is_good_for(&authority(&[ONE]), at(end)));
    assert_eq!(until(), u64::MAX);
}

#[test]
fn a_client_that_has_expired_is_good_no_longer() {
    let both = authority(&[ONE, TWO]);
    let proof = proof(authority(&[ONE]));
    let end = Validity::of(&proof.chain[0]).unwrap().not_after;
    assert!(proof.is_good_for(&both, at(end)));
    assert!(!proof.is_good_for(&both, at(end + 1)));
}

#[test]
fn what_checks_clients_is_built_when_other_certificates_become_valid() {
    let both = authority(&[ONE, TWO]);
    let end = both.validity().unwrap().not_after;
    let first = both.clients_at(end - 9).unwrap();
    assert!(Arc::ptr_eq(&first, &both.clients_at(end).unwrap()));
    let second = both.clients_at(end + 1).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &both.clients_at(end + 9).unwrap()));
    assert_eq!((first.root_hint_subjects().len(), second.root_hint_subjects().len()), (2, 1));
    assert!(authority(&[TWO]).clients_at(end + 1).is_err());
}
