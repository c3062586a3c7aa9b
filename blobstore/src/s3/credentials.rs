//! What a request was signed and would be sent with: the credentials and the connections.
//!
//! The SDK looks credentials up, caches and renews them by itself, and tells nobody. So the scheme
//! that signs is wrapped, and leaves what it used with whoever asked for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_sdk_s3::config::interceptors::BeforeSerializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Credentials, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::auth::{
    AuthScheme, AuthSchemeEndpointConfig, AuthSchemeId, SharedAuthScheme, Sign,
};
use aws_smithy_runtime_api::client::http::{
    HttpClient as _, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::identity::{Identity, SharedIdentityResolver};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::GetIdentityResolver;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use chrono::{DateTime, Utc};

/// For so long a connection is waited for.
pub(super) const CONNECT: Duration = Duration::from_millis(3100);

/// Where the signing of one request leaves what it used.
#[derive(Clone, Debug, Default)]
pub(super) struct Used(Arc<Mutex<(Option<Credentials>, Option<SharedHttpConnector>)>>);

impl Used {
    pub(super) fn seen(&self) -> (Option<Credentials>, Option<SharedHttpConnector>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When what was signed ends with its credentials.
    pub(super) fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.seen().0?.expiry().map(DateTime::from)
    }
}

impl Storable for Used {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Used {
    fn name(&self) -> &'static str {
        "standfast used"
    }

    fn modify_before_serialization(
        &self,
        _: &mut BeforeSerializationInterceptorContextMut<'_>,
        components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT).build();
        let client = components.http_client();
        let connector = client.map(|client| client.http_connector(&settings, components));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = connector;
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
            used.0 = identity.data::<Credentials>().cloned();
        }
        self.0.signer().sign_http_request(request, identity, endpoint, components, bag)
    }
}
