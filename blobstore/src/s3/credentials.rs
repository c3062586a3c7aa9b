//! Which credentials a signature was made with: what they sign ends when they do.
//!
//! The SDK looks credentials up, caches and renews them by itself, and tells nobody. So the scheme
//! that signs is wrapped, and leaves what it used with whoever asked for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_sdk_s3::config::interceptors::BeforeSerializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Credentials, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::auth::{
    AuthScheme, AuthSchemeEndpointConfig, AuthSchemeId, SharedAuthScheme, Sign,
};
use aws_smithy_runtime_api::client::identity::{Identity, SharedIdentityResolver};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::GetIdentityResolver;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use chrono::{DateTime, Utc};

/// Where the signing of one request leaves the credentials that it used.
#[derive(Clone, Debug, Default)]
pub(super) struct Used(Arc<Mutex<Option<Credentials>>>);

impl Used {
    pub(super) fn credentials(&self) -> Option<Credentials> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When what was signed ends with its credentials.
    pub(super) fn expires_at(&self) -> Option<DateTime<Utc>> {
        let expiry: Option<SystemTime> = self.credentials()?.expiry();
        expiry.map(DateTime::from)
    }
}

impl Storable for Used {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Used {
    fn name(&self) -> &'static str {
        "standfast used credentials"
    }

    fn modify_before_serialization(
        &self,
        _: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(self.clone());
        Ok(())
    }
}

/// The scheme of a client, watched.
#[derive(Debug)]
pub(super) struct Watched(SharedAuthScheme);

impl Watched {
    pub(super) fn of(config: &aws_sdk_s3::Config) -> Self {
        let own = config.auth_schemes().find(|scheme| scheme.scheme_id() == SCHEME_ID);
        Self(own.unwrap_or_else(|| SharedAuthScheme::new(SigV4AuthScheme::new())))
    }
}

impl AuthScheme for Watched {
    fn scheme_id(&self) -> AuthSchemeId {
        self.0.scheme_id()
    }

    fn identity_resolver(
        &self,
        resolvers: &dyn GetIdentityResolver,
    ) -> Option<SharedIdentityResolver> {
        self.0.identity_resolver(resolvers)
    }

    fn signer(&self) -> &dyn Sign {
        self
    }
}

impl Sign for Watched {
    fn sign_http_request(
        &self,
        request: &mut HttpRequest,
        identity: &Identity,
        endpoint: AuthSchemeEndpointConfig<'_>,
        components: &RuntimeComponents,
        bag: &ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(Used(used)) = bag.load::<Used>() {
            let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
            *used = identity.data::<Credentials>().cloned();
        }
        self.0.signer().sign_http_request(request, identity, endpoint, components, bag)
    }
}
