//! A certificate for this machine and the authority that vouches for it. The rule: both are made anew for each run, and
//! nobody trusts them unless told to.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// What a server and those who trust it need, as PEM.
pub(crate) struct Certificate {
    authority: String,
    leaf: String,
    key: String,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap().pem();
        Self { authority, leaf, key: key.serialize_pem() }
    }

    /// Writes what a server shows: `certificate.pem` and `key.pem`.
    pub(crate) fn write_for_server(&self, folder: &Path) {
        fs::write(folder.join("certificate.pem"), &self.leaf).unwrap();
        fs::write(folder.join("key.pem"), &self.key).unwrap();
    }

    /// Writes what its callers trust: `authority.pem`.
    pub(crate) fn write_for_caller(&self, folder: &Path) {
        fs::write(folder.join("authority.pem"), &self.authority).unwrap();
    }
}
