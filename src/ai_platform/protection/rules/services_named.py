"""Keys without a prefix and without a shape of their own: of many services only the name beside the key tells.

One rule for all of them. Services whose keys have a documented shape have a rule each in the other services_* files.
"""

from ai_platform.domain.finding import Action, DataClass, Severity, Tier
from ai_platform.protection.checks import has_letter_and_digit, varied
from ai_platform.protection.rule import Anchor, Rule
from ai_platform.protection.rules.shapes import ASSIGNED

_SERVICES = """
abstractapi abuseipdb accuweather adyen aftership airbrake airvisual alienvault alphavantage apca_api apiflash apilayer
appcenter appdynamics appetize applitools appoptics appsflyer appveyor aviationstack backendless bannerbear baremetrics
basecamp benchmarkemail betterstack billomat binaryedge bitly bitrise blitline bluesnap bombbomb braze brandfetch
brightdata browserless browserstack bugherd buttercms campayn capsulecrm carboninterface censys chartmogul chatfuel
checkvist clearbit clicksend clockify cloudconvert cloudimage cloudmersive cloudsmith cloze codacy codefresh codemagic
coinapi coinlayer coinmarketcap coingecko convertkit copperhq countrylayer cronitor cryptocompare currencyapi
currencylayer currentsapi customer[._-]?io cypress_record dailymotion dareboost deepai deepcode detectify
detectlanguage diffbot disqus docparser docraptor docusign dotdigital dwolla dynalist ecobee edamam edenai
elasticemail etherscan bscscan polygonscan ethplorer everhour exchangerate exchangeratesapi faceplusplus filestack
finage fixerio flightlabs foursquare fullcontact fullstory gandi geckoboard geoapify geocodio getresponse ghostinspector
gnews godaddy goodreads graphhopper greynoise gtmetrix gumroad harvestapp helpcrunch helpscout here_api heremaps
hibp holidayapi hunter[._-]?io hypertrack iconfinder iexcloud ifttt imagekit imgbb imgur infobip infura insightly
instatus intercom ipapi ipdata ipgeolocation ipify ipinfo iplocate ipstack iterable jotform keenio kickbox klipfolio
lambdatest lastfm leadfeeder lemlist lightstep listennotes livekit livestorm locationiq loginradius logrocket logz[._-]?io
lokalise mailboxlayer mailerlite mailgun mailsac mapquest maptiler marketstack marvelapp mattermost mediastack
meilisearch meraki messari metabase microcms mindmeister mockaroo monday_api monkeylearn moosend moralis mux_token nasdaq
newsapi newscatcher nexmo nimble_api nordigen numverify nutritionix nylas nytimes oanda omdb omnisend onfido opencage
openexchangerates openrouteservice opensea openuv optimizely packagecloud pagespeed pandadoc parsehub parseur pastebin
paymongo paystack pdflayer pdfshift peopledatalabs pexels phrase_app pinata pingdom pipedrive pivotaltracker pixabay
planetscale podio polygon_io positionstack prerender printful productboard pushbullet pushover quandl quicknode
quickbooks raygun rebrandly recurly rescuetime revenuecat ringcentral rocketreach sauce_?labs scaleapi scraperapi
scrapestack scrapfly scrapingant scrapingbee screenshotapi securitytrails semaphoreci sendowl serpstack serper shodan
shotstack shutterstock signalwire sirv skyscanner smartsheet smartystreets smooch snipcart snov[._-]?io sonarcloud
spoonacular sportradar stackoverflow statuscake statuspage stormglass storyblok strapi supertokens surveymonkey
swiftype tatum taxjar teamcity teamwork telesign testingbot textmagic themoviedb thetvdb ticketmaster tiingo timecamp
tinify tinypng tmdb todoist toggl tomorrow[._-]?io tomtom torn_api transferwise travelpayouts trustpilot twelvedata
typesense unsplash uploadcare uptimerobot urlscan userstack vatlayer veracode victorops virustotal visualcrossing
walkscore wandb weatherapi weatherbit weatherstack webflow what3words whoisxml wistia wolfram wrike yelp ynab zapier
zenrows zenscrape zenserp zeplin zerobounce zillow zipcodebase zoho
"""


def _key(value: str) -> bool:
    """Digits and letters mixed, three bits of entropy per character and more."""
    return has_letter_and_digit(value) and varied(value, 3.0) and sum(map(str.isdigit, value)) >= 2


RULES = (
    Rule(
        id="named-service-credential",
        type="SERVICE_CREDENTIAL",
        label="a credential of a service that is named beside it",
        data_class=DataClass.SECRET,
        tier=Tier.CONTEXT,
        severity=Severity.HIGH,
        source="the services' developer documentation: an API key or token is issued, of no documented shape",
        triggers=tuple(_SERVICES.split()),
        nocase=True,
        anchor=Anchor.END,
        confirm=rf"{ASSIGNED}(?P<v>(?-i:[A-Za-z0-9][A-Za-z0-9_-]{{18,127}}))(?![\w+/.-]|=[\w])",
        check=_key,
        action=Action.ALERT,
        examples=(
            "SHODAN_API_KEY=8fXk2Lm5Nw7Pz4Xc6Vb9Jh1GqR3tY5uE",
            'virustotal: "5b1d7f09c2e84a36b0d9e7f1a2c3d4e5f60718293a4b5c6d"',
        ),
        counter_examples=(
            "shodan = require('shodan-client-for-nodes')",
            "yelp_url: https://api.yelp.com/v3",
            "zoho: my-first-zoho-project-2",
        ),
    ),
)
