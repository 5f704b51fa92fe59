"""django-oauth-toolkit on SQLite: a whole site in one file. Its settings come as JSON in the first argument."""

import json
import sys

import django
from django.conf import settings

WANTED = json.loads(sys.argv[1])

LOGIN_PAGE = """<!doctype html><title>Log in</title>
<form method="post">{% csrf_token %}{{ form.as_p }}<input type="hidden" name="next" value="{{ next }}">
<button type="submit">Log in</button></form>"""

settings.configure(
    SECRET_KEY="of this test",
    ALLOWED_HOSTS=["*"],
    CSRF_TRUSTED_ORIGINS=[WANTED["origin"]],
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    USE_X_FORWARDED_HOST=True,
    USE_TZ=True,
    ROOT_URLCONF=__name__,
    LOGIN_URL="/login/",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": WANTED["database"],
        # Without these a busy site answers 500 "database is locked" now and then.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=wal;"},
    }},
    # Hashing is not what is tested.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "context_processors": ["django.template.context_processors.request", "django.contrib.auth.context_processors.auth"],
            "loaders": [
                ("django.template.loaders.locmem.Loader", {"registration/login.html": LOGIN_PAGE}),
                "django.template.loaders.app_directories.Loader",
            ],
        },
    }],
    OAUTH2_PROVIDER={"SCOPES": {"items": "see your items"}, "PKCE_REQUIRED": True, **WANTED["oauth"]},
)
django.setup()

from django.contrib.auth import get_user_model, views  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from oauth2_provider.models import AccessToken, Application, RefreshToken  # noqa: E402
from waitress import serve  # noqa: E402


@csrf_exempt
def end(request):
    """What the page of authorized applications does when the seller removes one."""
    seller = request.GET["seller"]
    for token in AccessToken.objects.filter(user__username=seller):
        token.revoke()
    for token in RefreshToken.objects.filter(user__username=seller, revoked__isnull=True):
        token.revoke()
    return JsonResponse({})


@csrf_exempt
def secret(request):
    """A new secret for a client, as the page of applications sets it."""
    client = Application.objects.get(client_id=request.GET["client"])
    client.client_secret = f"new secret of {client.client_id}"
    client.save()
    return JsonResponse({"secret": f"new secret of {client.client_id}"})


@csrf_exempt
def is_live(request):
    """Whether a refresh token may be used, which this server's introspection does not say."""
    token = request.POST["token"]
    return JsonResponse({"live": RefreshToken.objects.filter(token=token, revoked__isnull=True).exists()})


urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("login/", views.LoginView.as_view()),
    path("administration/end", end),
    path("administration/secret", secret),
    path("administration/live", is_live),
]


def populate():
    call_command("migrate", verbosity=0)
    for seller in WANTED["sellers"]:
        get_user_model().objects.create_user(seller, password=f"pass word of {seller}")
    for client in WANTED["clients"]:
        Application.objects.create(
            name=client["id"],
            client_id=client["id"],
            client_secret=client["secret"],
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=client["grant"],
            redirect_uris=client.get("redirect", ""),
        )


if __name__ == "__main__":
    populate()
    from django.core.wsgi import get_wsgi_application

    serve(get_wsgi_application(), host="127.0.0.1", port=WANTED["port"], threads=4)
