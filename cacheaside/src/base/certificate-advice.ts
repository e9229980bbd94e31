import { fieldOf } from './thrown.ts'

const UNTRUSTED =
  "set NODE_EXTRA_CA_CERTS to the file of the authority's certificate before the start, or give it to the client"
const NOT_ACCEPTED =
  "the server does not accept the client's certificate: renew it, or take one of its authority"

/** What OpenSSL and Node call what is wrong with a certificate: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const ADVICE: Readonly<Record<string, string>> = {
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  CERT_HAS_EXPIRED: "the server's certificate has to be renewed, or the clock of this machine to be set",
  ERR_TLS_CERT_ALTNAME_INVALID: 'connect by a name that the certificate has',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    'the server wants a certificate of the client: give cert and key to it',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: NOT_ACCEPTED,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: NOT_ACCEPTED,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: NOT_ACCEPTED,
}

/**
 * What to do about a certificate that one side has refused, to be appended to the message: ` (connect by …)`. Empty for any
 * other error. Node's messages say what is wrong, and not what to set.
 */
export function certificateAdvice(error: unknown): string {
  const code = fieldOf(error, 'code')
  // OpenSSL 3.5, in Node 24, has another word in the names of alerts that TLS 1.3 took over.
  const name = typeof code === 'string' ? code.replace('_SSL/TLS_', '_SSLV3_') : ''
  return Object.hasOwn(ADVICE, name) ? ` (${ADVICE[name]})` : ''
}
