import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.Security;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;

/**
 * Java's HttpClient against https://localhost:PORT/headers, verified by the authority in the file TRUSTED.
 *
 * <p>java Client PORT TRUSTED PROTOCOL [SUITE]: asks twice, by two clients that share their sessions, and prints
 * a line each time: status, HTTP version, protocol, cipher suite; or what the handshake failed of.
 */
public class Client {
    public static void main(String[] words) throws Exception {
        Security.setProperty("jdk.tls.disabledAlgorithms", ""); // the server is to refuse, not we
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trusting(Path.of(words[1])).getTrustManagers(), null);
        SSLParameters parameters = new SSLParameters();
        parameters.setProtocols(new String[] {words[2]});
        if (words.length > 3) {
            parameters.setCipherSuites(new String[] {words[3]});
        }
        for (int visit = 0; visit < 2; visit++) {
            System.out.println(visited(context, parameters, URI.create("https://localhost:" + words[0] + "/headers")));
        }
    }

    private static TrustManagerFactory trusting(Path file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream data = Files.newInputStream(file)) {
            store.setCertificateEntry("root", CertificateFactory.getInstance("X.509").generateCertificate(data));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return factory;
    }

    private static String visited(SSLContext context, SSLParameters parameters, URI place) throws Exception {
        HttpClient client = HttpClient.newBuilder().sslContext(context).sslParameters(parameters).build();
        try {
            var response = client.send(HttpRequest.newBuilder(place).build(), BodyHandlers.ofString());
            var session = response.sslSession().orElseThrow();
            return response.statusCode() + " " + response.version() + " " + session.getProtocol() + " "
                + session.getCipherSuite();
        } catch (SSLException failure) {
            return failure.getMessage();
        }
    }
}
